"""The three blocks of 2 to 32 bits on a CPU, forward and backward, in as few passes over the maps as there must be.

Same mathematics as the blocks' own modules, but for rounding. Batch norm, activation and quantizer have no maps of
their own: the transforms of the convolutions compute them where they read, and the backward pass computes them again.

Made for the blocks of `models.ConvNet`: kernels of 9 x 9, a first block with one input channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnnlib import blocks, compiled, convolution, products, quantizers
from bnnlib.blocks import Bounds, Normed
from bnnlib.compiled import KERNEL
from bnnlib.layers import NormedConvolution, affine
from bnnlib.threads import share

PARTS = 4  # of a batch: as many threads can work on it, and the less of one part, the more of it stays in their caches
ABOVE_ZERO = np.nextafter(np.float32(0), np.float32(1))

Map = NDArray[np.float32]  # (n, height, width, channels), channels filled up to whole groups of lanes


@dataclass(frozen=True)
class _First:
    """What the backward pass needs of the first block: its input, and what it convolved that to."""

    images: Tensor  # (n, 28, 28)
    y: Map
    normed: Normed
    channels: int


@dataclass(frozen=True)
class _Later:
    """What the backward pass needs of a later block: spectra of its input, one for each part, and of its kernel."""

    spectra: Sequence[Tensor]
    kernel: Tensor
    shape: torch.Size  # of the weight
    y: Map
    normed: Normed


def train(x: Tensor, bits: int, layers: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' activations in training mode, ``bits`` wide: float32 (n, 28, 28) -> float32 (n, 4, 4, 8).

    Batch norm by the batch's own statistics, which move the running ones.
    """
    norms = [layer.norm for layer in layers]
    parameters = [part for layer in layers for part in (layer.quantized_weight(), layer.norm.weight, layer.norm.bias)]
    return _Blocks.apply(x.contiguous(), bits, norms, *parameters)


@torch.no_grad()
def predict(x: Tensor, bits: int, layers: Sequence[NormedConvolution]) -> Tensor:
    """The blocks' activations in evaluation mode, batch norm as `layers.affine`: (n, 28, 28) -> (n, 4, 4, 8)."""
    first, *later = layers
    y, _ = _convolve_images(x.contiguous(), first.quantized_weight())
    scale_offset = _scale_offset(first)
    for layer in later:
        kernel = convolution.kernel_to_spectrum(layer.quantized_weight())
        y, _, _ = _convolve_activations(y, scale_offset, bits, kernel)
        scale_offset = _scale_offset(layer)
    return _activated(y, scale_offset, len(layers[-1].weight), bits)


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, norms: list[nn.BatchNorm2d], *parameters: Tensor) -> Tensor:
        first, *later = parameters[::3]
        y, sums = _convolve_images(x, first)
        normed = _normed(y, sums, norms[0])
        ctx.bits, ctx.first, ctx.later = bits, _First(x, y, normed, len(first)), []
        for norm, weight in zip(norms[1:], later, strict=True):
            kernel = convolution.kernel_to_spectrum(weight)
            y, sums, spectra = _convolve_activations(y, normed.affine, bits, kernel)
            normed = _normed(y, sums, norm)
            ctx.later.append(_Later(spectra, kernel, weight.shape, y, normed))
        return _activated(y, normed.affine, len(weight), bits)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor] = []
        bounds, below = _bounds(ctx.bits), [ctx.first, *ctx.later]
        top = below.pop()
        g, sums = blocks.through_last_activation(grads[0], top.y, top.normed, bounds)
        for block in reversed(ctx.later):
            slope, gamma, beta = blocks.through_norm(block.normed, sums)
            under = below.pop()
            weight, g, sums = _through_convolution(block, g, slope, under.y, under.normed, bounds)
            gradients = [weight, gamma, beta, *gradients]
        slope, gamma, beta = blocks.through_norm(ctx.first.normed, sums)
        return None, None, None, _first_weight(ctx.first, g, slope), gamma, beta, *gradients


def _bounds(bits: int) -> Bounds:
    """Where an activation lets the gradient pass: above 0 (ReLU), or from 0 to 1 (`quantizers.dorefa_activation`)."""
    return (ABOVE_ZERO, np.float32(np.inf)) if bits >= quantizers.HALF_BITS else (np.float32(0), np.float32(1))


def _scale_offset(layer: NormedConvolution) -> NDArray[np.float32]:
    """What a trained batch norm does, (2, channels), filled up to whole groups of lanes."""
    return blocks.filled(torch.stack(affine(layer.norm)).numpy())


def _parts(n: int) -> list[slice]:
    """The images of each part."""
    edges = [n * part // PARTS for part in range(PARTS + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges) if stop > start]


def _for_each_part(n: int, work: Callable[[int, slice], None]) -> None:
    """Call ``work`` with the number and the images of each part, the parts shared among the threads."""
    parts = _parts(n)

    def some(start: int, stop: int) -> None:
        for number in range(start, stop):
            work(number, parts[number])

    share(some, len(parts))


def _convolve_images(x: Tensor, weight: Tensor) -> tuple[Map, NDArray[np.float64]]:
    """The first block: (n, 28, 28), (out, 1, 9, 9) -> (n, 20, 20, out), with its sums."""
    n, size, channels = len(x), x.shape[1] - KERNEL + 1, len(weight)
    taps, images = weight.detach()[:, 0].permute(1, 2, 0).contiguous().numpy(), x.numpy()
    y, sums = np.empty((n, size, size, channels), np.float32), np.empty((n, 2, channels))

    def work(number: int, part: slice) -> None:
        products.convolve_images(images[part], taps, y[part])
        compiled.sum_map(0, part.stop - part.start, y[part], sums[part])

    _for_each_part(n, work)
    return y, sums


def _convolve_activations(
    y: Map, scale_offset: NDArray[np.float32], bits: int, kernel: Tensor
) -> tuple[Map, NDArray[np.float64], list[Tensor]]:
    """A later block: the map of the block before, its affine (2, channels), the kernel's spectrum.

    Returns what it is convolved to, with its sums, and the spectra of the parts' activations.
    """
    n, size = len(y), y.shape[1] - KERNEL + 1
    channels = kernel.shape[1] // 2
    spectra = [torch.empty(0)] * len(_parts(n))
    out, sums = np.empty((n, size, size, channels), np.float32), np.empty((n, 2, channels))
    transposed = np.empty((len(kernel), kernel.shape[2], kernel.shape[1]), np.float32)
    share(products.transpose, len(kernel), kernel.numpy(), transposed)
    y, scale_offset, grouped = blocks.grouped(y), blocks.grouped(scale_offset), blocks.grouped(out)

    def work(number: int, part: slice) -> None:
        count = part.stop - part.start
        spectra[number] = x = convolution.empty_spectrum(count, y.shape[3])
        compiled.activated_to_spectrum(0, count, y[part], scale_offset, bits, convolution.as_groups(x).numpy())
        product = torch.empty(len(x), count, transposed.shape[2])
        products.multiply(x.numpy(), transposed, product.numpy())
        compiled.spectrum_to_map(0, count, convolution.as_groups(product).numpy(), grouped[part])
        compiled.sum_map(0, count, out[part], sums[part])

    _for_each_part(n, work)
    return out, sums, spectra


def _normed(y: Map, sums: NDArray[np.float64], norm: nn.BatchNorm2d) -> Normed:
    return blocks.normalise(sums.sum(axis=0), y[..., 0].size, norm)


def _activated(y: Map, scale_offset: NDArray[np.float32], channels: int, bits: int) -> Tensor:
    """The last block's activations: (n, 4, 4, channels)."""
    z = torch.from_numpy((y * scale_offset[0] + scale_offset[1])[..., :channels])
    return quantizers.quantize_activation(z, bits)


def _through_convolution(
    block: _Later, g: Map, slope: NDArray[np.float32], y: Map, normed: Normed, bounds: Bounds
) -> tuple[Tensor, Map, NDArray[np.float32]]:
    """Gradient of the weights, and for the block below, of ``y`` and ``normed``, that of what was activated, with sums.

    The gradient of the weights is the sum over the parts in their order.
    """
    n, below, sums = len(g), np.empty_like(y), np.empty((len(g), 2, y.shape[3]), np.float32)
    weights = torch.empty(len(_parts(n)), *block.kernel.shape)
    inputs, slope = [blocks.grouped(g), blocks.grouped(block.y)], blocks.grouped(slope)
    of_below = [blocks.grouped(each) for each in (y, below, sums)]
    scale_offset = blocks.grouped(normed.affine)

    def work(number: int, part: slice) -> None:
        count = part.stop - part.start
        spectrum = convolution.empty_spectrum(count, slope.shape[1])
        compiled.gradient_to_spectrum(
            0, count, *(each[part] for each in inputs), slope, convolution.as_groups(spectrum).numpy()
        )
        products.multiply_transposed(spectrum.numpy(), block.spectra[number].numpy(), weights[number].numpy())
        product = torch.empty_like(block.spectra[number])
        products.multiply(spectrum.numpy(), block.kernel.numpy(), product.numpy())
        dots, out, its_sums = (each[part] for each in of_below)
        compiled.spectrum_to_gradient(
            0, count, convolution.as_groups(product).numpy(), dots, scale_offset, *bounds, out, its_sums
        )

    _for_each_part(n, work)
    return convolution.spectrum_to_kernel(weights, block.shape), below, sums


def _first_weight(block: _First, g: Map, slope: NDArray[np.float32]) -> Tensor:
    """Gradient of the first block's weights (out, 1, 9, 9), the sum over the parts in their order."""
    images = block.images.numpy()
    sums = torch.empty(len(_parts(len(g))), KERNEL, KERNEL, block.channels)

    def work(number: int, part: slice) -> None:
        products.first_weights(images[part], g[part], block.y[part], slope, sums[number].numpy())

    _for_each_part(len(g), work)
    return sums.sum(dim=0).permute(2, 0, 1)[:, None].contiguous()
