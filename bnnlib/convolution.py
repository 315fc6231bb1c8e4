"""Valid 2-D convolution (cross-correlation) for training on CPUs: one layer, forward and backward, in few operations.

A 9x9 kernel on a 20x20 map costs 81 multiply-adds for each output and channel pair. In the frequency domain the same
layer is one small matrix product for each of the 202 two-dimensional frequencies that determine a real map, and
`compiled` makes the transforms cheap. The first layer, of one channel, goes by patches.

Activations are laid out ``(n, height, width, channels)``, so that every step works on vectors of channels. Weights keep
the usual ``(out, in, height, width)``. Complex numbers are pairs of reals.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bnnlib import compiled, threads
from bnnlib.compiled import COUNTS, FREQUENCIES, LANES, SIDE

PATCH = 4  # most pixels that share one patch


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve by torch's own operator: (n, height, width, in) -> (n, height - k + 1, width - k + 1, out)."""
    return functional.conv2d(x.permute(0, 3, 1, 2), weight).permute(0, 2, 3, 1)


def convolve_fast(x: Tensor, weight: Tensor, *, integers: bool) -> Tensor:
    """Same result as `convolve`, up to float32 rounding (relative error about 1e-6), both gradients too.

    ``integers``: the exact result is known to hold integers below 2**22 (values and weights are -1 and +1), so
    rounding makes it exact. The road depends on the shapes alone. Maps and kernels are square.
    """
    n, side, _, in_channels = x.shape
    out_channels, _, kernel, _ = weight.shape
    if in_channels == 1:
        return _convolve_patches(x[..., 0], weight[:, 0])
    if side == kernel:  # one output pixel
        flat = weight.permute(0, 2, 3, 1).flatten(1)  # (out, k * k * in), in the order of x
        return (x.reshape(n, -1) @ flat.t()).view(n, 1, 1, out_channels)
    if side > SIDE:
        return convolve(x, weight)
    return _SpectralConvolution.apply(x, weight, integers)


def _convolve_patches(x: Tensor, weight: Tensor) -> Tensor:
    """One input channel, by patches: (n, height, width), (out, k, k) -> (n, height', width', out).

    A patch serves `PATCH` neighbours of a row at once, by a matrix that holds the kernel once for each, moved and
    padded with zeros: a third more multiply-adds, a third of the bytes to copy, and products of a better size.
    """
    kernel, size = weight.shape[1], x.shape[1] - weight.shape[1] + 1
    neighbours = math.gcd(size, PATCH)
    patches = x.unfold(1, kernel, 1).unfold(2, kernel + neighbours - 1, neighbours)  # (n, h', w' / nb, k, k + nb - 1)
    patches = patches.reshape(-1, kernel * (kernel + neighbours - 1))
    moved = [functional.pad(weight, (place, neighbours - 1 - place)) for place in range(neighbours)]
    matrix = torch.stack(moved).flatten(2).flatten(0, 1)  # (nb out, k (k + nb - 1))
    return (patches @ matrix.t()).view(len(x), size, size, len(weight))


class _SpectralConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, integers: bool) -> Tensor:
        kernel, out_channels = weight.shape[2], weight.shape[0]
        x_spectrum = map_to_spectrum(x)
        w_spectrum = kernel_to_spectrum(weight)
        ctx.save_for_backward(x_spectrum, w_spectrum)
        ctx.shapes = x.shape, weight.shape
        y = spectrum_to_map(torch.bmm(x_spectrum, w_spectrum.transpose(1, 2)), x.shape[1] - kernel + 1, out_channels)
        return y.round_() if integers else y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x_spectrum, w_spectrum = ctx.saved_tensors
        (_, side, _, in_channels), weight_shape = ctx.shapes
        g_spectrum = map_to_spectrum(grads[0])
        gx = spectrum_to_map(torch.bmm(g_spectrum, w_spectrum), side, in_channels)
        gw = spectrum_to_kernel(torch.bmm(g_spectrum.transpose(1, 2), x_spectrum)[None], weight_shape)
        return gx, gw, None


def map_to_spectrum(x: Tensor) -> Tensor:
    """Spectrum of maps padded with zeros to `SIDE`: (n, size, size, c) -> (frequencies, n, part * c').

    c' is c, filled up with zeros to whole groups of lanes.
    """
    n, size, _, channels = x.shape
    groups = math.ceil(channels / LANES)
    full = functional.pad(x.detach(), (0, groups * LANES - channels)).contiguous()
    spectrum = empty_spectrum(n, groups)
    threads.share(
        compiled.map_to_spectrum, n, full.view(n, size, size, groups, LANES).numpy(), as_groups(spectrum).numpy()
    )
    return spectrum


def spectrum_to_map(spectrum: Tensor, size: int, channels: int) -> Tensor:
    """The first rows and columns of the maps: (frequencies, n, part * c') -> (n, size, size, c). The rest wraps round.

    The spectrum is a product with a kernel's, which brought the weights of the inverse transform.
    """
    grouped = as_groups(spectrum)
    n, groups = grouped.shape[1], grouped.shape[3]
    maps = torch.empty(n, size, size, groups, LANES)
    threads.share(compiled.spectrum_to_map, n, grouped.numpy(), maps.numpy())
    return maps.flatten(3)[..., :channels].contiguous()


def empty_spectrum(n: int, groups: int) -> Tensor:
    """Room for the spectra of n maps: (frequencies, n, part * c')."""
    return torch.empty(len(FREQUENCIES), n, 2 * groups * LANES)


def as_groups(spectrum: Tensor) -> Tensor:
    """What the kernels read and write: (frequencies, n, part * c') -> (frequencies, n, part, groups, lanes)."""
    return spectrum.view(*spectrum.shape[:2], 2, -1, LANES)


def kernel_to_spectrum(weight: Tensor) -> Tensor:
    """(out, in, k, k) -> (frequencies, part * out', part * in'), channels filled up to whole groups of lanes.

    Real matrices that multiply by the conjugate (a correlation), weighted for the inverse transform. Their transposes
    correlate the other way, which is what the gradient of a map needs.
    """
    spectrum = map_to_spectrum(weight.permute(0, 2, 3, 1)).unflatten(2, (2, -1))  # (f, out, part, in')
    matrices = torch.empty(len(spectrum), 2 * LANES * math.ceil(len(weight) / LANES), 2 * spectrum.shape[3])
    threads.share(compiled.kernel_matrices, len(spectrum), spectrum.numpy(), _weights(), matrices.numpy())
    return matrices


def spectrum_to_kernel(products: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of weights of a shape (out, in, k, k) from sums over n of output gradient times input.

    products: (parts, frequencies, part * out', part * in'), whose sum over the parts, in their order, it takes.
    """
    out_channels, in_channels, kernel, _ = shape
    spectrum = torch.empty(products.shape[1], out_channels, 2, products.shape[3] // 2)
    threads.share(compiled.products_to_spectrum, len(spectrum), products.numpy(), _weights(), spectrum.numpy())
    return spectrum_to_map(spectrum.flatten(2), kernel, in_channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.float32]:
    """What the inverse transform multiplies each frequency by."""
    return np.array(COUNTS, np.float32) / np.float32(SIDE**2)
