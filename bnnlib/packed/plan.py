"""A 1-bit network laid out for the fast engine: its bits in words of 32, and where each word lies.

The engine counts mismatches: dot = K - 2 * mismatches, so ``dot >= t`` is ``mismatches <= floor((K - t) / 2)``. One
vector of weights holds a word of each of ``lanes`` output channels, and all of them meet the same word of the input. A
layer is thus a list of vectors, each with the offset of its input word from the start of the pixel's window. Bits
without a channel or pixel are 0 on both sides and never mismatch.

All that is known of one image lies in one array of words:

- Planes, from the input of one channel: at position y * side + x the bits of ``rows`` rows of ``width`` pixels from
  there to the right and down. One plane serves many places of the kernel: the same bits, read at another position.
- Maps, one for each block: ceil(channels / 32) words for each pixel; bit c of a pixel is channel c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed import model as packed
from bnnlib.packed.model import Block, Head, PackedModel

WORD = 32

PLANE = np.dtype([("at", np.int64), ("width", np.int64), ("rows", np.int64), ("side", np.int64)])
JOINED = ("starts", "offsets", "weights", "limits", "flips")
# For each layer: where its part of each joined array begins, and sizes.
LAYER = np.dtype([(name, np.int64) for name in (*JOINED, "pixels", "words", "groups", "target", "stride")])


@dataclass(frozen=True)
class Layer:
    """One layer; the head, which compares nothing, has limits and flips of 0."""

    starts: NDArray[np.int64]  # (pixels,) where the window of each output pixel begins; in whole tiles
    offsets: NDArray[np.int64]  # (words,) from there to each input word of the window
    weights: NDArray[np.uint32]  # (groups, words, lanes)
    limits: NDArray[np.int32]  # (groups, lanes) the largest number of mismatches that gives 1
    flips: NDArray[np.uint32]  # (groups,) one bit for each lane whose output is reversed
    target: int  # where the output map begins
    stride: int  # words of one pixel of it


@dataclass(frozen=True)
class Plan:
    """What the engine reads besides the images: the arrays of all layers, each flat and joined to one."""

    planes: NDArray[np.void]  # PLANE
    layers: NDArray[np.void]  # LAYER, the head last
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    weights: NDArray[np.uint32]
    limits: NDArray[np.int32]
    flips: NDArray[np.uint32]
    size: int  # words for one image


@dataclass(frozen=True)
class _Piece:
    """One input word of a window: where it lies from the window's start, and the weights of its bits, (out, bits)."""

    offset: int
    weights: NDArray[np.bool_]


def lay_out(model: PackedModel, lanes: int, tile: int) -> Plan:
    """The plan of a model for vectors of so many lanes and tiles of so many output pixels.

    `ModelError` for a model that is too large or does not hold together.
    """
    packed.check(model)
    plane_size = _round_up(model.side**2, lanes)
    planes, pieces = _planes(model.layers()[0].weights, model.side, plane_size)
    # The engine reads planes in whole vectors, and up to the rows and columns of a word ahead.
    source, target, stride = 0, (len(planes) + 1) * plane_size + WORD + lanes, 1
    layers: list[Layer] = []
    for layer, side in zip(model.layers(), model.sides(), strict=True):
        if layers:
            pieces = list(_taps(layer.weights, side))
        starts = source + _starts(side, layer.weights.shape[2], stride)
        starts = np.pad(starts, (0, -len(starts) % tile), mode="edge")  # the last tile repeats the last pixel
        layers.append(_layer(layer, pieces, starts, target, lanes))
        source, stride = target, layers[-1].stride
        target += len(starts) * stride
    joined = {name: np.concatenate([getattr(layer, name).ravel() for layer in layers]) for name in JOINED}
    return Plan(np.array(planes, PLANE), _table(layers), **joined, size=target)


def _planes(weights: NDArray[np.bool_], side: int, plane_size: int) -> tuple[list[tuple[int, ...]], list[_Piece]]:
    """The planes that the windows of the first layer need, as `PLANE`, and its pieces. weights: (out, 1, k, k).

    A word holds as many whole rows of the kernel as it can, or a part of one row.
    """
    kernel = weights.shape[2]
    width = min(kernel, WORD)
    rows = min(kernel, WORD // width)
    planes: dict[tuple[int, int], int] = {}
    pieces = []
    for y in range(0, kernel, rows):
        for x in range(0, kernel, width):
            part = weights[:, 0, y : y + rows, x : x + width]
            at = planes.setdefault((part.shape[2], part.shape[1]), len(planes) * plane_size)
            pieces.append(_Piece(at + y * side + x, part.reshape(len(part), -1)))
    return [(at, *shape, side) for shape, at in planes.items()], pieces


def _taps(weights: NDArray[np.bool_], side: int) -> Iterator[_Piece]:
    """The pieces of a later layer, whose input is a map of so many pixels a side. weights: (out, in, k, k)."""
    channels, kernel = weights.shape[1:3]
    stride = _words(channels)
    for y, x, word in np.ndindex(kernel, kernel, stride):
        yield _Piece((y * side + x) * stride + word, weights[:, word * WORD : (word + 1) * WORD, y, x])


def _starts(side: int, kernel: int, stride: int) -> NDArray[np.int64]:
    """Where the windows begin in a map of so many pixels a side."""
    places = np.arange(side - kernel + 1, dtype=np.int64)
    return ((places[:, None] * side + places) * stride).ravel()


def _layer(layer: Block | Head, pieces: list[_Piece], starts: NDArray[np.int64], target: int, lanes: int) -> Layer:
    outputs = len(layer.weights)
    padded = _round_up(outputs, lanes)
    weights = np.zeros((len(pieces), padded), np.uint32)
    for row, piece in zip(weights, pieces, strict=True):
        row[:outputs] = _pack(piece.weights)
    limits = np.zeros(padded, np.int32)
    flips = np.zeros(padded, np.bool_)
    if isinstance(layer, Block):
        limits[:outputs] = (layer.weights[0].size - layer.thresholds) // 2
        limits[outputs:] = -1  # lanes without a channel give 0
        flips[:outputs] = layer.flipped
    return Layer(
        starts,
        np.array([piece.offset for piece in pieces], np.int64),
        weights.reshape(len(pieces), -1, lanes).swapaxes(0, 1),
        limits.reshape(-1, lanes),
        _pack(flips.reshape(-1, lanes)),
        target,
        _words(outputs),
    )


def _table(layers: list[Layer]) -> NDArray[np.void]:
    """Sizes of the layers and where their arrays begin in the joined ones, `LAYER`."""
    table = np.zeros(len(layers), LAYER)
    for name in JOINED:
        sizes = [getattr(layer, name).size for layer in layers]
        table[name] = np.cumsum([0, *sizes[:-1]])
    for row, layer in zip(table, layers, strict=True):
        row["pixels"], row["words"], row["groups"] = len(layer.starts), len(layer.offsets), len(layer.flips)
        row["target"], row["stride"] = layer.target, layer.stride
    return table


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Words of up to 32 bits: (n, bits) -> (n,), the first bit lowest."""
    return (bits << np.arange(bits.shape[1], dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def _words(channels: int) -> int:
    return _round_up(channels, WORD) // WORD


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
