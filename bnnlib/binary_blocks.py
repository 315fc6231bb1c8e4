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

from bnnlib import blocks, compiled, convolution, quantizers
from bnnlib.blocks import Normed
from bnnlib.compiled import KERNEL, LANES
from bnnlib.layers import NormedConvolution, affine
from bnnlib.threads import share

STE_BOUNDS = (np.float32(-1), np.float32(1))  # where the clipped straight-through estimator lets the gradient pass
PARTS = 4  # of the first block's table: as many threads can work on it


@dataclass(frozen=True)
class _Block:
    """What the backward pass needs. The channels of ``dots`` are filled up to whole groups of lanes."""

    words: NDArray[np.uint32]  # the input: (n, side, side), of the first block rows of pixels (n, side)
    dots: NDArray[np.int16]  # (n, size, size, channels)
    normed: Normed
    weight: Tensor  # latent


def train(images: Tensor, input_threshold: int, layers: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' signs in training mode: uint8 (n, 28, 28) -> float32 (n, 4, 4, 8).

    Pixels from ``input_threshold`` on are +1. Batch norm by the batch's own statistics, which move the running ones.
    """
    norms = [layer.norm for layer in layers]
    parameters = [part for layer in layers for part in (layer.weight, layer.norm.weight, layer.norm.bias)]
    return _Blocks.apply(_rows(images, input_threshold), norms, *parameters)


@torch.no_grad()
def predict(images: Tensor, input_threshold: int, layers: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' signs in evaluation mode, batch norm as `layers.affine`: (n, 28, 28) -> float32 (n, 4, 4, 8)."""
    words = _rows(images, input_threshold)
    for layer in layers:
        dots = _dots(words, layer.weight)
        words = _signs(dots, torch.stack(affine(layer.norm)).numpy())
    return _values(words, len(layer.weight))


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, words: NDArray[np.uint32], norms: list[nn.BatchNorm2d], *parameters: Tensor) -> Tensor:
        ctx.blocks = []
        for norm, weight in zip(norms, parameters[::3], strict=True):
            dots = _dots(words, weight)
            ctx.blocks.append(_Block(words, dots, _normed(dots, norm), weight.detach()))
            words = _signs(dots, ctx.blocks[-1].normed.affine[:, : len(weight)])
        return _values(words, len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor] = []
        top = ctx.blocks[-1]
        g, sums = blocks.through_last_activation(grads[0], top.dots, top.normed, STE_BOUNDS)
        for number in range(len(ctx.blocks) - 1, -1, -1):
            block = ctx.blocks[number]
            slope, gamma, beta = blocks.through_norm(block.normed, sums)
            if number == 0:
                weight = _first_weight(block, g, slope)
            else:
                below = ctx.blocks[number - 1]
                kernel = quantizers.signs(block.weight)
                spectrum = _spectrum(block.words, kernel)
                weight, product = _through_convolution(g, block.dots, slope, spectrum, kernel)
                g, sums = _through_activation(product, below.dots, below.normed)
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
    return blocks.filled(np.moveaxis(words, 0, -1))


def _normed(dots: NDArray[np.int16], norm: nn.BatchNorm2d) -> Normed:
    """Batch norm of the dot products from exact sums."""
    n, size, _, channels = dots.shape
    sums = np.empty((n, 2, channels), np.int64)
    share(compiled.sum_dots, n, dots, sums)
    return blocks.normalise(sums.sum(axis=0), n * size**2, norm)


def _values(words: NDArray[np.uint32], channels: int) -> Tensor:
    """The signs whose bits the words are: (n, size, size) -> float32 (n, size, size, channels)."""
    bits = words[..., None] >> np.arange(channels, dtype=np.uint32) & 1
    return torch.from_numpy(2 * bits.astype(np.float32) - 1)


def _first_weight(block: _Block, g: NDArray[np.float32], slope: NDArray[np.float32]) -> Tensor:
    """Gradient of the first block's weights (out, 1, 9, 9), from sums over equal rows of nine pixels."""
    table = np.empty((PARTS, KERNEL, compiled.ROW + 1, slope.shape[1]), np.float32)
    share(compiled.tabulate_rows, PARTS, block.words, g, block.dots, slope, table)
    signs = _values(np.arange(compiled.ROW + 1, dtype=np.uint32), KERNEL)  # (pattern, column of the kernel)
    weight = np.matmul(table.sum(axis=0).transpose(0, 2, 1), signs.numpy())  # (row, channels, column)
    return torch.from_numpy(weight.transpose(1, 0, 2)[: len(block.weight), None].copy())


def _spectrum(words: NDArray[np.uint32], kernel: Tensor) -> Tensor:
    """Spectrum of the signs that a kernel (out, in, 9, 9) met: (n, side, side) -> (frequencies, n, part * in')."""
    spectrum = convolution.empty_spectrum(len(words), -(-kernel.shape[1] // LANES))
    share(compiled.signs_to_spectrum, len(words), words, convolution.as_groups(spectrum).numpy())
    return spectrum


def _through_convolution(
    g: NDArray[np.float32], dots: NDArray[np.int16], slope: NDArray[np.float32], x_spectrum: Tensor, kernel: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of a kernel (out, in, 9, 9), and the spectrum of its input's: (frequencies, n, part * in').

    g, dots: (n, size, size, channels), see `through_norm`. x_spectrum: what the kernel met.
    """
    n = len(g)
    g_spectrum = convolution.empty_spectrum(n, slope.shape[1] // LANES)
    inputs = [blocks.grouped(each) for each in (g, dots, slope)]
    share(compiled.gradient_to_spectrum, n, *inputs, convolution.as_groups(g_spectrum).numpy())
    weight = convolution.spectrum_to_kernel(_product(g_spectrum.transpose(1, 2), x_spectrum)[None], kernel.shape)
    return weight, _product(g_spectrum, convolution.kernel_to_spectrum(kernel))


def _through_activation(
    spectrum: Tensor, dots: NDArray[np.int16], normed: Normed
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From the spectrum of the gradient of activations to that of what they were made of, with its sums.

    It passes where the normalised dot product lies within the bounds: (n, size, size, channels), (n, 2, channels).
    """
    n, _, _, channels = dots.shape
    g, sums = np.empty(dots.shape, np.float32), np.empty((n, 2, channels), np.float32)
    inputs = [convolution.as_groups(spectrum).numpy(), blocks.grouped(dots), blocks.grouped(normed.affine)]
    share(compiled.spectrum_to_gradient, n, *inputs, *STE_BOUNDS, blocks.grouped(g), blocks.grouped(sums))
    return g, sums


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products, one for each frequency: (frequencies, i, j), (frequencies, j, k) -> (frequencies, i, k)."""
    out = torch.empty(len(a), a.shape[1], b.shape[2])
    share(lambda start, stop: torch.bmm(a[start:stop], b[start:stop], out=out[start:stop]), len(a))
    return out
