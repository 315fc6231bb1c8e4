"""The three 1-bit blocks in training on a CPU, forward and backward, on bits and whole numbers.

Same mathematics as the blocks' own modules with clipped straight-through estimators: the dot products are the same
integers, and batch norm and gradients differ by rounding. Between the blocks an activation is one bit of a word of
channels; the backward pass keeps that and the dot products as int16 instead of float32 maps.

Made for the blocks of `models.ConvNet`: kernels of 9 x 9, a first block with one input channel, later ones with at most
32 input and 16 output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnnlib import compiled, convolution, quantizers
from bnnlib.compiled import KERNEL, LANES
from bnnlib.layers import NormedConvolution, affine
from bnnlib.threads import share

PARTS = 4  # of the first block's table: as many threads can work on it


@dataclass(frozen=True)
class _Block:
    """What the backward pass needs. The channels of ``dots`` and ``affine`` are filled up to whole groups of lanes."""

    words: NDArray[np.uint32]  # the input: (n, side, side), of the first block rows of pixels (n, side)
    dots: NDArray[np.int16]  # (n, size, size, channels)
    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]  # 1 / standard deviation
    gamma: NDArray[np.float64]  # the batch norm's weight
    affine: NDArray[np.float32]  # (2, channels): z = dot * affine[0] + affine[1]
    weight: Tensor  # latent


def train(images: Tensor, input_threshold: int, blocks: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' signs in training mode: uint8 (n, 28, 28) -> float32 (n, 4, 4, 8).

    Pixels from ``input_threshold`` on are +1. Batch norm by the batch's own statistics, which move the running ones.
    """
    norms = [block.norm for block in blocks]
    parameters = [part for block in blocks for part in (block.weight, block.norm.weight, block.norm.bias)]
    return _Blocks.apply(_rows(images, input_threshold), norms, *parameters)


@torch.no_grad()
def predict(images: Tensor, input_threshold: int, blocks: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' signs in evaluation mode, batch norm as `layers.affine`: (n, 28, 28) -> float32 (n, 4, 4, 8)."""
    words = _rows(images, input_threshold)
    for block in blocks:
        dots = _dots(words, block.weight)
        words = _signs(dots, torch.stack(affine(block.norm)).numpy())
    return _values(words, len(block.weight))


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, words: NDArray[np.uint32], norms: list[nn.BatchNorm2d], *parameters: Tensor) -> Tensor:
        ctx.blocks = []
        for norm, weight in zip(norms, parameters[::3], strict=True):
            dots = _dots(words, weight)
            block = _normalised(words, dots, weight, norm)
            words = _signs(dots, block.affine[:, : len(weight)])
            ctx.blocks.append(block)
        return _values(words, len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor] = []
        g, sums = _through_sign(ctx.blocks[-1], grads[0])
        for number in range(len(ctx.blocks) - 1, -1, -1):
            block = ctx.blocks[number]
            slope, gamma, beta = _through_norm(block, sums)
            if number == 0:
                weight = _first_weight(block, g, slope)
            else:
                weight, g, sums = _through_convolution(block, ctx.blocks[number - 1], g, slope)
            gradients = [quantizers.ste_gradient(weight, block.weight, 0.0), gamma, beta, *gradients]
        return (None, None, *gradients)


def _rows(images: Tensor, input_threshold: int) -> NDArray[np.uint32]:
    """The binarized pixels: (n, side, side) -> rows of bits (n, side)."""
    rows = np.empty(images.shape[:2], np.uint32)
    share(compiled.pack_rows, len(rows), images.contiguous().numpy(), input_threshold, rows)
    return rows


def _signs(dots: NDArray[np.int16], scale_offset: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Words of the channels' signs: (n, size, size, channels), (2, channels) -> (n, size, size)."""
    words = np.empty(dots.shape[:3], np.uint32)
    share(compiled.sign_words, len(words), dots, scale_offset, words)
    return words


def _dots(words: NDArray[np.uint32], weight: Tensor) -> NDArray[np.int16]:
    """Dot products of signs: (n, size, size, channels)."""
    out_channels, in_channels = weight.shape[:2]
    n, side = words.shape[:2]
    size = side - KERNEL + 1
    if words.ndim == 2:  # rows of pixels
        kernels = _packed(weight.view(out_channels, compiled.PATCH_WORDS, -1))
        dots = np.empty((n, size, size, kernels.shape[-1]), np.int16)
        share(compiled.convolve_rows, n, words, kernels, dots)
    else:
        kernels = _packed(weight.permute(0, 2, 3, 1))
        dots = np.empty((n, size, size, kernels.shape[-1]), np.int16)
        share(compiled.convolve_words, n, words, kernels, in_channels * KERNEL**2, dots)
    return dots


def _packed(weight: Tensor) -> NDArray[np.uint32]:
    """Signs of the last dimension as bits of a word: (out, ..., bits) -> (..., channels)."""
    bits = quantizers.sign_codes(weight).numpy().astype(np.uint32)
    words = (bits << np.arange(bits.shape[-1], dtype=np.uint32)).sum(axis=-1, dtype=np.uint32)
    return _filled(np.moveaxis(words, 0, -1))


def _filled(channels: NDArray[Any]) -> NDArray[Any]:
    """Fill the channels, the last dimension, up with zeros to whole groups of lanes."""
    *others, count = channels.shape
    full = np.zeros((*others, -(-count // LANES) * LANES), channels.dtype)
    full[..., :count] = channels
    return full


def _grouped(channels: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in groups: (..., channels) -> (..., groups, lanes)."""
    return channels.reshape(*channels.shape[:-1], -1, LANES)


def _normalised(words: NDArray[np.uint32], dots: NDArray[np.int16], weight: Tensor, norm: nn.BatchNorm2d) -> _Block:
    """Batch norm of the dot products from exact sums: y = gamma * (dot - mean) / sqrt(variance + eps) + beta.

    Moves the running statistics as torch's batch norm does, the variance unbiased; without a momentum they are the
    means over the batches since they were reset.
    """
    n, size, _, channels = dots.shape
    sums = np.empty((n, 2, channels), np.int64)
    share(compiled.sum_dots, n, dots, sums)
    count = n * size**2
    total, squares = sums.sum(axis=0)[:, : len(weight)]
    mean = total / count
    variance = squares / count - mean**2
    batches = norm.get_buffer("num_batches_tracked").add_(1)
    momentum = 1 / batches.item() if norm.momentum is None else norm.momentum
    for name, now in (("running_mean", mean), ("running_var", variance * count / (count - 1))):
        norm.get_buffer(name).lerp_(torch.from_numpy(now).float(), momentum)
    inverse = 1 / np.sqrt(variance + norm.eps)
    gamma, beta = (part.detach().double().numpy() for part in (norm.weight, norm.bias))
    scale_offset = np.stack([gamma * inverse, beta - mean * gamma * inverse]).astype(np.float32)
    return _Block(words, dots, mean, inverse, gamma, _filled(scale_offset), weight.detach())


def _values(words: NDArray[np.uint32], channels: int) -> Tensor:
    """The signs whose bits the words are: (n, size, size) -> float32 (n, size, size, channels)."""
    bits = words[..., None] >> np.arange(channels, dtype=np.uint32) & 1
    return torch.from_numpy(2 * bits.astype(np.float32) - 1)


def _through_sign(block: _Block, grad: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The last block's `compiled.spectrum_to_gradient`, without a spectrum: its map is small. grad: (n, 4, 4, 8)."""
    g = _filled(grad.numpy())
    dots = block.dots.astype(np.float32)
    g[np.abs(dots * block.affine[0] + block.affine[1]) > 1] = 0
    return g, np.stack([g.sum(axis=(1, 2)), (g * dots).sum(axis=(1, 2))], axis=1)


def _through_norm(block: _Block, sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], Tensor, Tensor]:
    """Slope of the dot products' gradient (3, channels), see `compiled`, and the gradients of gamma and beta.

    With x = (dot - mean) * inverse and the count m of values of a channel:
    d dot = gamma * inverse * (g - sum(g) / m - x * sum(g * x) / m).
    sums: (n, 2, channels), those of g and of g * dot over the pixels of an image.
    """
    count = block.dots[..., 0].size
    of_g, of_g_dot = sums.sum(axis=0, dtype=np.float64)[:, : len(block.mean)]
    of_g_x = block.inverse * (of_g_dot - block.mean * of_g)
    scale = block.gamma * block.inverse
    by_dot = -scale * of_g_x * block.inverse / count
    slope = np.stack([scale, by_dot, -scale * of_g / count - by_dot * block.mean]).astype(np.float32)
    return _filled(slope), torch.from_numpy(of_g_x).float(), torch.from_numpy(of_g).float()


def _first_weight(block: _Block, g: NDArray[np.float32], slope: NDArray[np.float32]) -> Tensor:
    """Gradient of the first block's weights (out, 1, 9, 9), from sums over equal rows of nine pixels."""
    table = np.empty((PARTS, KERNEL, compiled.ROW + 1, slope.shape[1]), np.float32)
    share(compiled.tabulate_rows, PARTS, block.words, g, block.dots, slope, table)
    signs = _values(np.arange(compiled.ROW + 1, dtype=np.uint32), KERNEL)  # (pattern, column of the kernel)
    weight = np.matmul(table.sum(axis=0).transpose(0, 2, 1), signs.numpy())  # (row, channels, column)
    return torch.from_numpy(weight.transpose(1, 0, 2)[: len(block.weight), None].copy())


def _through_convolution(
    block: _Block, below: _Block, g: NDArray[np.float32], slope: NDArray[np.float32]
) -> tuple[Tensor, NDArray[np.float32], NDArray[np.float32]]:
    """Gradient of the weights, and for the block below that of what its sign took, with its sums."""
    n = len(g)
    g_spectrum = convolution.empty_spectrum(n, slope.shape[1] // LANES)
    x_spectrum = convolution.empty_spectrum(n, below.affine.shape[1] // LANES)
    inputs = [_grouped(each) for each in (g, block.dots, slope)]
    share(compiled.gradient_to_spectrum, n, *inputs, convolution.as_groups(g_spectrum).numpy())
    share(compiled.signs_to_spectrum, n, block.words, convolution.as_groups(x_spectrum).numpy())
    weight = convolution.spectrum_to_kernel(_product(g_spectrum.transpose(1, 2), x_spectrum), block.weight.shape)
    kernels = convolution.kernel_to_spectrum(quantizers.signs(block.weight))
    below_spectrum = convolution.as_groups(_product(g_spectrum, kernels)).numpy()
    below_g, sums = np.empty(below.dots.shape, np.float32), np.empty((n, 2, below.dots.shape[3]), np.float32)
    outputs = [_grouped(each) for each in (below.dots, below.affine, below_g, sums)]
    share(compiled.spectrum_to_gradient, n, below_spectrum, *outputs)
    return weight, below_g, sums


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products, one for each frequency: (frequencies, i, j), (frequencies, j, k) -> (frequencies, i, k)."""
    out = torch.empty(len(a), a.shape[1], b.shape[2])
    share(lambda start, stop: torch.bmm(a[start:stop], b[start:stop], out=out[start:stop]), len(a))
    return out
