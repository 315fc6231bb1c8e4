"""A 1-bit network laid out for the fast engine: its bits in words of 32, and the position of each word.

The engine counts mismatches: dot = K - 2 * mismatches. So ``dot >= t`` is ``mismatches <= floor((K - t) / 2)``, and the
fewest mismatches of a pooling window give its largest dot. Output channels are in groups of up to 32, one channel for
each lane of a vector. A vector of weights has one word of each channel of the group, and all these words are compared
with the same input word. So a group is a list of vectors, each with the offset of its input word from the position
where the kernel begins. Bits without a channel or pixel are 0 in the input and in the weights and never mismatch.

All data of one image is in one array of words:

- Strips, made from the image. The word at position y * side + x has the bits of ``planes`` input planes in ``rows``
  rows of ``width`` pixels, to the right of pixel (y, x) and below it. Many parts of the kernel share one strip, because
  they read the same bits at other positions.
- Maps, one for each block: ceil(channels / 32) words for each pixel; bit c of a pixel is channel c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed import model as packed
from bnnlib.packed.model import Block, Head, PackedModel

Scalar = TypeVar("Scalar", bound=np.generic)

WORD = 32
MARKS = 8  # most planes of one strip: the engine keeps a bit of each in one byte for each pixel
LINE = 64  # bytes of a cache line: a vector that lies in two lines takes two loads

# A strip begins at word ``at`` and with plane ``first``. A strip of several rows is made from the strip of one row that
# begins at word ``base``.
STRIP = np.dtype([(name, np.int64) for name in ("at", "base", "first", "planes", "width", "rows", "side")])
# A group of output channels of one layer. ``starts``, ``offsets``, ``weights`` and ``limits``: where its part of these
# arrays of the plan begins. It has ``window`` starts (1 without pooling) for each of ``pixels`` output pixels, and
# ``words`` offsets. ``flip``: bit i is set if the output of lane i is reversed. ``target``: position of the word with
# its first output pixel; the other pixels follow, ``stride`` words apart. ``shift``: its first bit in these words.
_LAYER = ("starts", "pixels", "window", "offsets", "words", "stride")
_OWN = ("weights", "lanes", "limits", "flip", "target", "shift")
GROUP = np.dtype([(name, np.int64) for name in (*_LAYER, *_OWN)])


class Plan(NamedTuple):
    """What the engine reads besides the images. Each array has the parts of all layers, one after the other."""

    thresholds: NDArray[np.int32]  # (planes,) of the input
    strips: NDArray[np.void]  # STRIP
    groups: NDArray[np.void]  # GROUP, the head's last
    head: int  # index of the first group of the head
    fan_in: int  # K of the head
    starts: NDArray[np.int64]  # position where the kernel begins, for each of its places
    offsets: NDArray[np.int64]  # from there to each input word
    weights: NDArray[np.uint32]  # (words, lanes) of each group
    limits: NDArray[np.int32]  # (lanes,) of each group: the largest number of mismatches that gives 1
    size: int  # words of one image


@dataclass(frozen=True)
class _Piece:
    """One input word: its offset from where the kernel begins, and the weights of its bits, (out, bits)."""

    offset: int
    weights: NDArray[np.bool_]


@dataclass(frozen=True)
class _Layer:
    """One layer, its channels padded to whole groups. The head compares nothing, so its limits and flips are 0."""

    groups: list[tuple[int, int]]  # first channel and lanes of each
    windows: NDArray[np.int64]  # (output pixels, places of each)
    offsets: NDArray[np.int64]  # (words,)
    weights: NDArray[np.uint32]  # (words, channels)
    limits: NDArray[np.int32]  # (channels,)
    flips: NDArray[np.bool_]  # (channels,)
    target: int  # where its output begins
    unit: int  # output channels in one word: `WORD` bits of a block, or one count of mismatches of the head

    @property
    def stride(self) -> int:
        """Words of one output pixel."""
        return _round_up(len(self.limits), self.unit) // self.unit


def lay_out(model: PackedModel, widths: Sequence[int], tile: int) -> Plan:
    """The plan of a model, or `ModelError` if it is inconsistent or too large.

    widths: numbers of lanes that vectors can have, most first; tile: number of places that are computed together.
    """
    packed.check(model)
    strip_size = _round_up(model.side**2, max(widths))
    strips, pieces = _strips(model.layers()[0].weights, model.side, strip_size)
    # The engine reads whole vectors, and up to the rows and columns of one word beyond the end of a strip.
    source, target, stride = 0, (len(strips) + 1) * strip_size + WORD + max(widths), 1
    layers: list[_Layer] = []
    for layer, shape, side in zip(model.layers(), model.shapes(), model.sides(), strict=True):
        if layers:
            pieces = list(_taps(layer.weights, side))
        windows = source + stride * _windows(side, shape.kernel, shape.pool, tile)
        layers.append(_layer(layer, windows, pieces, target, widths))
        source, stride = target, layers[-1].stride
        target += len(windows) * stride
    return Plan(
        thresholds=np.array(model.input_thresholds, np.int32),
        strips=np.array(strips, STRIP),
        groups=_table(layers),
        head=sum(len(layer.groups) for layer in layers[:-1]),
        fan_in=model.head.weights[0].size,
        starts=np.concatenate([layer.windows.ravel() for layer in layers]),
        offsets=np.concatenate([layer.offsets for layer in layers]),
        weights=_aligned(np.concatenate([each.ravel() for layer in layers for each in _split(layer, layer.weights)])),
        limits=_aligned(np.concatenate([layer.limits for layer in layers])),
        size=target,
    )


def _strips(weights: NDArray[np.bool_], side: int, strip_size: int) -> tuple[list[tuple[int, ...]], list[_Piece]]:
    """The strips of the first layer, as `STRIP`, and its pieces. weights: (out, planes, k, k)."""
    strips: dict[tuple[int, ...], int] = {}  # first, planes, width, rows -> at
    pieces = []
    for first, y, x, part in _parts(weights):
        planes, rows, width = part.shape[1:]
        for height in sorted({1, rows}):
            strips.setdefault((first, planes, width, height), len(strips) * strip_size)
        at = strips[first, planes, width, rows]
        pieces.append(_Piece(at + y * side + x, part.transpose(0, 2, 3, 1).reshape(len(part), -1)))
    return [(at, strips[*key[:3], 1], *key, side) for key, at in strips.items()], pieces


def _parts(weights: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
    """Parts of the first layer's kernel that fit in a word, with their first plane, row and column.

    weights: (out, planes, k, k). A part has one or more planes, and either whole rows or a piece of one row. The number
    of planes is the one that gives the fewest parts.
    """

    def count(size: int) -> int:
        return sum(1 for _ in _corners(weights.shape[1], weights.shape[2], size))

    planes = min(range(min(weights.shape[1], MARKS), 0, -1), key=count)
    for first, y, x, rows, width in _corners(weights.shape[1], weights.shape[2], planes):
        yield first, y, x, weights[:, first : first + planes, y : y + rows, x : x + width]


def _corners(planes: int, kernel: int, size: int) -> Iterator[tuple[int, int, int, int, int]]:
    """First plane, row and column of each part of ``size`` planes, then its rows and columns before the kernel ends."""
    for first in range(0, planes, size):
        width = min(kernel, WORD // min(size, planes - first))
        rows = min(kernel, WORD // (min(size, planes - first) * width))
        for y in range(0, kernel, rows):
            for x in range(0, kernel, width):
                yield first, y, x, rows, width


def _taps(weights: NDArray[np.bool_], side: int) -> Iterator[_Piece]:
    """The pieces of any layer after the first. side: of its input, in pixels; weights: (out, in, k, k)."""
    channels, kernel = weights.shape[1:3]
    stride = _words(channels)
    for y, x, word in np.ndindex(kernel, kernel, stride):
        yield _Piece((y * side + x) * stride + word, weights[:, word * WORD : (word + 1) * WORD, y, x])


def _windows(side: int, kernel: int, pool: int, tile: int) -> NDArray[np.int64]:
    """Pixels of a map where a kernel begins, for each output pixel: (output pixels, places of a pooling window).

    Places are repeated to fill the last tile of each window, or without pooling the last tile of all.
    """
    places = np.arange(side - kernel + 1, dtype=np.int64)
    pixels = places[:, None] * side + places
    if pool == 1:
        return np.pad(pixels.ravel(), (0, -pixels.size % tile), mode="edge")[:, None]
    left = len(places) // pool
    cut = pixels[: left * pool, : left * pool].reshape(left, pool, left, pool)
    windows = cut.swapaxes(1, 2).reshape(left**2, pool**2)
    return np.pad(windows, ((0, 0), (0, -(pool**2) % tile)), mode="edge")


def _groups(channels: int, widths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First channel and lanes of each group: the most lanes, then for the rest the fewest lanes that hold it."""
    first = 0
    while first < channels:
        lanes = min((width for width in widths if width >= channels - first), default=max(widths))
        yield first, lanes
        first += lanes


def _layer(
    layer: Block | Head, windows: NDArray[np.int64], pieces: list[_Piece], target: int, widths: Sequence[int]
) -> _Layer:
    block, outputs = isinstance(layer, Block), len(layer.weights)
    groups = list(_groups(outputs, widths if block else widths[-1:]))
    padded = sum(lanes for _, lanes in groups)
    weights = np.zeros((len(pieces), padded), np.uint32)
    for row, piece in zip(weights, pieces, strict=True):
        row[:outputs] = _pack(piece.weights)
    limits = np.zeros(padded, np.int32)
    flips = np.zeros(padded, np.bool_)
    if isinstance(layer, Block):
        limits[:outputs] = (layer.weights[0].size - layer.thresholds) // 2
        limits[outputs:] = -1  # so lanes without a channel give 0
        flips[:outputs] = layer.flipped
    offsets = np.array([piece.offset for piece in pieces], np.int64)
    return _Layer(groups, windows, offsets, weights, limits, flips, target, unit=WORD if block else 1)


def _split(layer: _Layer, array: NDArray[Scalar]) -> list[NDArray[Scalar]]:
    """The parts of an array of (..., channels), one for each group."""
    return [array[..., first : first + lanes] for first, lanes in layer.groups]


def _table(layers: list[_Layer]) -> NDArray[np.void]:
    """All groups, `GROUP`."""
    rows: list[tuple[int, ...]] = []
    starts = offsets = weights = limits = 0
    for layer in layers:
        shared = starts, *layer.windows.shape, offsets, len(layer.offsets), layer.stride
        for (first, lanes), flips in zip(layer.groups, _split(layer, layer.flips), strict=True):
            flip, target = int(_pack(flips[None])[0]), layer.target + first // layer.unit
            rows.append((*shared, weights, lanes, limits, flip, target, first % layer.unit))
            weights += len(layer.offsets) * lanes
            limits += lanes
        starts += layer.windows.size
        offsets += len(layer.offsets)
    return np.array(rows, GROUP)


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Words of up to 32 bits: (n, bits) -> (n,), the first bit lowest."""
    return (bits << np.arange(bits.shape[1], dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def _aligned(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A copy that begins where a cache line begins."""
    memory = np.empty(array.nbytes + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    copy = memory[begin : begin + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def _words(channels: int) -> int:
    return _round_up(channels, WORD) // WORD


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
