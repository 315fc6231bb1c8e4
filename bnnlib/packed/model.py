"""The 1-bit network as integers: weights are bits, thresholds are whole numbers, only the logits are float32.

A binary value is stored as a bit: 1 is +1 and 0 is -1. The dot product of two vectors of K binary values is
2 * popcount(xnor) - K: a whole number from -K to K of the same parity as K.

An image enters as bit planes, one for each input threshold: the bit is 1 where the pixel reaches the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError

# With these, K is at most 2**22: every dot product fits int32 and is exact as a float32.
MAX_PLANES = 64
MAX_BLOCKS = 16
MAX_SIDE = 256
MAX_CHANNELS = 1024
MAX_KERNEL = 64
MAX_PIXEL = 255
MAX_PASSES = 16


class ModelError(BnnError):
    """No engine can run the packed model or take the images; the message names the field."""


@dataclass(frozen=True)
class Block:
    """One binarized layer: valid convolution of stride 1, maximum pooling, then a comparison in each output channel.

    ``weights``: bool (out, in, kernel, kernel). ``pool``: side and stride of the pooling windows; rows and columns that
    do not fill a window are left out; 1 is no pooling. The output bit of channel c is
    ``(max(dots) >= thresholds[c]) != flipped[c]``, with the ``dots`` of one window: the OR of their comparisons, then
    reversed where flipped. ``thresholds``: int32 (out,), from -K to K + 1 with K = in * kernel**2 (at -K the comparison
    always holds, at K + 1 never). ``flipped``: bool (out,), true where the batch norm's scale is negative.
    """

    weights: NDArray[np.bool_]
    thresholds: NDArray[np.int32]
    flipped: NDArray[np.bool_]
    pool: int = 1


@dataclass(frozen=True)
class Head:
    """The last layer. It covers its whole input, and logit = float32(float32(dot) * scale) + offset.

    ``weights``: bool (classes, in, kernel, kernel); ``scale`` and ``offset``: float32 (classes,). The product is
    rounded to float32 before the sum (no fused multiply-add), so every engine gives the same bits.
    """

    weights: NDArray[np.bool_]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]


class Pass(NamedTuple):
    """How the network sees an image in one of several passes: shifted by whole pixels, then brighter.

    ``down``, ``right``: pixels; black moves in. ``brighter``: levels that are added to every pixel, the sum kept within
    0 to 255: as if the input thresholds were lower by as many.
    """

    down: int = 0
    right: int = 0
    brighter: int = 0


PLAIN = Pass()


@dataclass(frozen=True)
class PackedModel:
    """A network for images that are uint8 (side, side).

    ``input_thresholds``: 0 to 256; each makes a bit plane, ``pixel >= threshold``. Plane i is input channel i of the
    first layer. ``passes``: which of them `passes.logits` may add up; the first is the one of a plain prediction.
    """

    side: int
    input_thresholds: tuple[int, ...]
    blocks: tuple[Block, ...]
    head: Head
    passes: tuple[Pass, ...] = (PLAIN,)

    def layers(self) -> list[Block | Head]:
        """All layers, the head last."""
        return [*self.blocks, self.head]

    def sides(self) -> list[int]:
        """Side of each layer's input, in pixels, the head's last."""
        sides = [self.side]
        for block in self.blocks:
            sides.append((sides[-1] - block.weights.shape[2] + 1) // block.pool)
        return sides

    def shapes(self) -> list[Shape]:
        """Sizes of each layer, the head's last."""
        return [_shape(layer) for layer in self.layers()]


class Shape(NamedTuple):
    """Sizes of one layer. Its weights are (out_channels, in_channels, kernel, kernel); ``pool``: see `Block`."""

    out_channels: int
    in_channels: int
    kernel: int
    pool: int = 1

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.out_channels * self.fan_in

    @property
    def fan_in(self) -> int:
        """Number of values in one dot product, K."""
        return self.in_channels * self.kernel**2


def names(blocks: int) -> list[str]:
    """The names of the layers in messages, the head's last."""
    return [*(f"blocks[{number}]" for number in range(blocks)), "head"]


def check_start(side: int, planes: int, blocks: int) -> None:
    """Check the sizes that do not belong to a layer; `ModelError` names the field and the values allowed."""
    _within("side", side, 1, MAX_SIDE)
    _within("input planes", planes, 1, MAX_PLANES)
    _within("blocks", blocks, 0, MAX_BLOCKS)


def check_thresholds(thresholds: Sequence[int]) -> None:
    """Check the input thresholds; `ModelError` names the wrong one."""
    for number, threshold in enumerate(thresholds):
        _within(f"input_thresholds[{number}]", threshold, 0, MAX_PIXEL + 1)


def check_shapes(side: int, planes: int, shapes: Sequence[Shape]) -> None:
    """Check that layers, the head last, fit each other and the image; `ModelError` names the field."""
    channels, left = planes, side
    for name, shape in zip(names(len(shapes) - 1), shapes, strict=True):
        _within(f"{name}.in_channels", shape.in_channels, channels, channels)
        _within(f"{name}.out_channels", shape.out_channels, 1, MAX_CHANNELS)
        _within(f"{name}.kernel", shape.kernel, 1, min(MAX_KERNEL, left))
        channels, left = shape.out_channels, left - shape.kernel + 1
        _within(f"{name}.pool", shape.pool, 1, 1 if name == "head" else left)
        left //= shape.pool
    if left != 1:
        kernel = shapes[-1].kernel
        last = left + kernel - 1
        raise ModelError(f"head.kernel: {kernel}, expected {last}: the head covers its whole input of {last} x {last}")


def check(model: PackedModel) -> None:
    """Check types, shapes and values of a model; `ModelError` names the field and the values allowed."""
    layers = model.layers()
    for name, layer in zip(names(len(model.blocks)), layers, strict=True):
        _check_array(f"{name}.weights", layer.weights, np.dtype(np.bool_), dimensions=4)
        if layer.weights.shape[2] != layer.weights.shape[3]:
            raise ModelError(f"{name}.weights: shape {layer.weights.shape}, expected a square kernel")
    shapes = model.shapes()
    check_start(model.side, len(model.input_thresholds), len(model.blocks))
    check_thresholds(model.input_thresholds)
    check_passes(model.side, model.passes)
    check_shapes(model.side, len(model.input_thresholds), shapes)
    for name, block, shape in zip(names(len(model.blocks)), model.blocks, shapes, strict=False):
        _check_block(name, block, shape)
    _check_head(model.head, shapes[-1])


def check_passes(side: int, passes: Sequence[Pass]) -> None:
    """Check the passes over an image; `ModelError` names the wrong one."""
    _within("passes", len(passes), 1, MAX_PASSES)
    if passes[0] != PLAIN:
        raise ModelError(f"passes[0]: {tuple(passes[0])}, expected {tuple(PLAIN)}: the first sees the image as it is")
    for number, each in enumerate(passes):
        _within(f"passes[{number}].down", each.down, 1 - side, side - 1)
        _within(f"passes[{number}].right", each.right, 1 - side, side - 1)
        _within(f"passes[{number}].brighter", each.brighter, -MAX_PIXEL, MAX_PIXEL)


def check_images(model: PackedModel, images: NDArray[np.uint8]) -> None:
    """Check that images are uint8 (n, side, side), else `ModelError`."""
    expected = (model.side, model.side)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != expected:
        raise ModelError(
            f"images: {images.dtype} {images.shape}, expected uint8 (number of images, {model.side}, {model.side})"
        )


def _shape(layer: Block | Head) -> Shape:
    outputs, inputs, kernel, _ = layer.weights.shape
    return Shape(outputs, inputs, kernel, layer.pool if isinstance(layer, Block) else 1)


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ModelError(f"{name}: {value}, expected {low if low == high else f'{low} to {high}'}")


def _check_array(name: str, array: NDArray[np.generic], dtype: np.dtype[np.generic], dimensions: int) -> None:
    if array.dtype != dtype or array.ndim != dimensions:
        raise ModelError(f"{name}: {array.dtype} {array.shape}, expected {dtype} of {dimensions} dimensions")


def _check_vector(name: str, array: NDArray[np.generic], dtype: type[np.generic], length: int) -> None:
    _check_array(name, array, np.dtype(dtype), dimensions=1)
    if len(array) != length:
        raise ModelError(f"{name}: {len(array)} numbers, expected {length}, one for each output channel")


def _check_block(name: str, block: Block, shape: Shape) -> None:
    _check_vector(f"{name}.thresholds", block.thresholds, np.int32, shape.out_channels)
    _check_vector(f"{name}.flipped", block.flipped, np.bool_, shape.out_channels)
    for channel, threshold in enumerate(block.thresholds.tolist()):
        _within(f"{name}.thresholds[{channel}]", threshold, -shape.fan_in, shape.fan_in + 1)


def _check_head(head: Head, shape: Shape) -> None:
    largest = float(np.finfo(np.float32).max)
    _check_vector("head.scale", head.scale, np.float32, shape.out_channels)
    _check_vector("head.offset", head.offset, np.float32, shape.out_channels)
    for channel, (scale, offset) in enumerate(zip(head.scale.tolist(), head.offset.tolist(), strict=True)):
        if not abs(offset) <= largest:  # NaN too
            raise ModelError(f"head.offset[{channel}]: {offset}, expected a finite number")
        if not abs(scale) * shape.fan_in + abs(offset) <= largest:
            raise ModelError(
                f"head.scale[{channel}]: {scale}, expected a finite number that keeps the logits finite "
                f"for dot products of up to {shape.fan_in} and the offset {offset}"
            )
