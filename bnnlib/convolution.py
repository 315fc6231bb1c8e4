"""Valid 2-D convolution (cross-correlation) as matrix products, for training on CPUs.

A 9x9 kernel on a 20x20 map costs 81 multiply-adds for each output and channel pair. In the frequency domain the same
layer is one small matrix product for each of 11 x 20 frequencies. The discrete Fourier transforms are matrix products
too (the maps are small), so that the whole layer, forward and backward, runs at the speed of a matrix product and
takes about a fifth of the multiply-adds. The first layer, of one channel, goes by patches.

Activations are laid out ``(height, width, channels, n)``, the images innermost: every step below then reads and writes
contiguous matrices, and nothing is transposed on the way. Weights keep the usual ``(out, in, height, width)``.
Complex numbers are pairs of reals; a frequency ``f`` is a pair (row frequency u, column frequency v), where u runs
over half of the spectrum, for the maps are real.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

PATCH = 4  # most pixels that share one patch


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve by torch's own operator: (height, width, in, n) -> (height - k + 1, width - k + 1, out, n)."""
    return functional.conv2d(x.permute(3, 2, 0, 1), weight).permute(2, 3, 1, 0)


def convolve_fast(x: Tensor, weight: Tensor, *, integers: bool) -> Tensor:
    """Same result as `convolve`, up to float32 rounding (relative error about 1e-6), both gradients too.

    ``integers``: the exact result is known to hold integers below 2**22 (values and weights are -1 and +1), so
    rounding makes it exact. The road depends on the shapes alone. Maps and kernels are square.
    """
    side, _, in_channels, n = x.shape
    out_channels, _, kernel, _ = weight.shape
    if in_channels == 1:
        return _convolve_patches(x[:, :, 0], weight[:, 0])
    if side == kernel:  # one output pixel
        flat = weight.permute(0, 2, 3, 1).flatten(1)  # (out, k * k * in), in the order of x
        return (flat @ x.reshape(-1, n)).view(1, 1, out_channels, n)
    return _SpectralConvolution.apply(x, weight, integers)


def _convolve_patches(x: Tensor, weight: Tensor) -> Tensor:
    """One input channel, by patches: (height, width, n), (out, k, k) -> (height', width', out, n).

    A patch serves `PATCH` neighbours of a row at once, by a matrix that holds the kernel once for each, moved and
    padded with zeros: a third more multiply-adds, a third of the bytes to copy, and products of a better size.
    """
    kernel, size = weight.shape[1], x.shape[0] - weight.shape[1] + 1
    neighbours = math.gcd(size, PATCH)
    patches = x.unfold(0, kernel, 1).unfold(1, kernel + neighbours - 1, neighbours)  # (h', w' / nb, n, k, k + nb - 1)
    patches = patches.permute(0, 1, 3, 4, 2).flatten(0, 1).flatten(1, 2)  # (h' w' / nb, k (k + nb - 1), n)
    moved = [functional.pad(weight, (place, neighbours - 1 - place)) for place in range(neighbours)]
    matrix = torch.stack(moved).flatten(2).flatten(0, 1)  # (nb out, k (k + nb - 1))
    y = torch.bmm(matrix.expand(len(patches), -1, -1), patches)
    return y.view(size, size, len(weight), x.shape[2])


class _Transforms(NamedTuple):
    """Matrices of the real two-dimensional Fourier transform of maps whose sides are at most ``side``."""

    rows: Tensor  # (u, part; i): over the rows of a real map
    columns: Tensor  # (v, part; part, j): over the columns of the result, complex
    columns_back: Tensor  # (part, j; v, part): the inverse of `columns`
    rows_back: Tensor  # (i; u, part): the inverse of `rows`
    kernel: Tensor  # (u, v, part; i, j): of a kernel, both dimensions at once
    kernel_back: Tensor  # (i, j; u, v, part)


@lru_cache(maxsize=8)
def _transforms(side: int, kernel: int) -> _Transforms:
    u = torch.arange(side // 2 + 1, dtype=torch.float64)
    v = torch.arange(side, dtype=torch.float64)
    count = torch.where((u == 0) | (2 * u == side), 1.0, 2.0)  # how often a row frequency stands in the full spectrum
    angle_rows = 2 * math.pi / side * torch.outer(u, v)
    rows = torch.stack([angle_rows.cos(), -angle_rows.sin()], dim=1)  # (u, part, i)
    angle = 2 * math.pi / side * torch.outer(v, v)
    cos, sin = angle.cos(), angle.sin()  # (v, j), symmetric
    # (a + ib)(cos - i sin) = (a cos + b sin) + i (b cos - a sin)
    columns = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # (v, part, part, j)
    columns_back = columns.permute(2, 3, 0, 1) / side  # the inverse of an orthogonal map is its transpose
    rows_back = (rows * count[:, None, None] / side).permute(2, 0, 1)  # (i, u, part)
    angle2 = angle_rows[:, None, :kernel, None] + angle[None, :, None, :kernel]  # (u, v, i, j)
    both = torch.stack([angle2.cos(), -angle2.sin()], dim=2)  # (u, v, part, i, j)
    weight = count[:, None, None, None, None] / side**2
    back = (both * weight).flatten(0, 2).flatten(1).t()
    shaped = (
        rows.flatten(0, 1),
        columns.flatten(2).flatten(0, 1),
        columns_back.flatten(2).flatten(0, 1),
        rows_back.flatten(1),
        both.flatten(0, 2).flatten(1),
        back,
    )
    return _Transforms(*(matrix.float().contiguous() for matrix in shaped))


class _SpectralConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, integers: bool) -> Tensor:
        side, kernel = x.shape[0], weight.shape[2]
        x_spectrum = _map_to_spectrum(x, side, kernel)
        w_spectrum = _kernel_to_spectrum(weight, side)
        ctx.save_for_backward(x_spectrum, w_spectrum)
        ctx.side, ctx.kernel = side, kernel
        y = _spectrum_to_map(torch.bmm(w_spectrum, x_spectrum), side, side - kernel + 1, kernel)
        return y.round_() if integers else y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x_spectrum, w_spectrum = ctx.saved_tensors
        side, kernel = ctx.side, ctx.kernel
        g_spectrum = _map_to_spectrum(grads[0], side, kernel)
        gx = _spectrum_to_map(torch.bmm(w_spectrum.transpose(1, 2), g_spectrum), side, side, kernel)
        gw = _spectrum_to_kernel(torch.bmm(g_spectrum, x_spectrum.transpose(1, 2)), side, kernel)
        return gx, gw, None


def _map_to_spectrum(x: Tensor, side: int, kernel: int) -> Tensor:
    """Spectrum of a map padded with zeros to ``side``: (height, width, c, n) -> (f, part * c, n)."""
    matrices = _transforms(side, kernel)
    size, _, channels, n = x.shape
    y = matrices.rows[:, :size] @ x.reshape(size, -1)  # (u part, width c n)
    columns = matrices.columns.view(-1, 2, side)[:, :, :size].flatten(1)  # (v part, part width)
    y = torch.matmul(columns, y.view(-1, 2 * size, channels * n))  # (u, v part, c n)
    return y.view(-1, 2 * channels, n)


def _spectrum_to_map(spectrum: Tensor, side: int, size: int, kernel: int) -> Tensor:
    """The first ``size`` rows and columns of the map: (f, part * c, n) -> (size, size, c, n). The rest wraps round."""
    matrices = _transforms(side, kernel)
    n = spectrum.shape[2]
    columns = matrices.columns_back.view(2, side, -1)[:, :size].flatten(0, 1)  # (part j, v part)
    y = torch.matmul(columns, spectrum.view(side // 2 + 1, 2 * side, -1))  # (u, part j, c n)
    y = matrices.rows_back[:size] @ y.view(2 * (side // 2 + 1), -1)  # (i, j c n)
    return y.view(size, size, -1, n)


def _kernel_to_spectrum(weight: Tensor, side: int) -> Tensor:
    """(out, in, k, k) -> (f, part * out, part * in): real matrices that multiply by the conjugate (a correlation)."""
    out_channels, in_channels, kernel, _ = weight.shape
    taps = weight.flatten(2).permute(2, 0, 1).reshape(kernel * kernel, -1)  # (i j, out in)
    spectrum = (_transforms(side, kernel).kernel @ taps).view(-1, 2, out_channels, in_channels)
    real, imaginary = spectrum[:, 0], spectrum[:, 1]  # (f, out, in)
    # (re - i im)(a + i b) = (re a + im b) + i (re b - im a)
    return torch.cat([torch.cat([real, imaginary], 2), torch.cat([-imaginary, real], 2)], 1)


def _spectrum_to_kernel(products: Tensor, side: int, kernel: int) -> Tensor:
    """Gradient of the weights from sums over n of output gradient times input.

    (f, part * out, part * in) -> (out, in, k, k).
    """
    frequencies, rows, columns = products.shape
    blocks = products.view(frequencies, 2, rows // 2, 2, columns // 2)  # (f, part, out, part, in)
    real = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]
    imaginary = blocks[:, 0, :, 1] - blocks[:, 1, :, 0]
    spectrum = torch.stack([real, imaginary], 1).view(2 * frequencies, -1)  # (f part, out in)
    taps = _transforms(side, kernel).kernel_back @ spectrum
    return taps.view(kernel, kernel, rows // 2, columns // 2).permute(2, 3, 0, 1)
