"""A 1-bit network laid out for the fast engine: its bits in words of 32, and where each word lies.

The engine counts mismatches: dot = K - 2 * mismatches, so ``dot >= t`` is ``mismatches <= floor((K - t) / 2)``, and the
largest dot of a pooling window is that of the fewest mismatches. Output channels go in groups of up to 32, one to a
lane of a vector. A vector of weights holds a word of each of them, and all meet the same word of the input. A group is
thus a list of vectors, each with the offset of its input word from where the kernel begins. Bits without a channel or
pixel are 0 on both sides and never mismatch.

Everything known about one image is in one array of words:

- Strips, from the image: at position y * side + x the bits of ``planes`` input planes in ``rows`` rows of ``width``
  pixels, from there to the right and down. One strip serves many places of the kernel: the same bits, read at another
  position.
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
MARKS = 8  # planes of one strip: the engine marks those of a pixel in a byte
LINE = 64  # bytes of a cache line: a vector in two of them takes two loads

# A strip begins at word ``at``, with plane ``first``; one of several rows is made from that of one row at ``base``.
STRIP = np.dtype([(name, np.int64) for name in ("at", "base", "first", "planes", "width", "rows", "side")])
# A group of output channels of one layer. ``starts``, ``offsets``, ``weights`` and ``limits``: where its part of these
# arrays of the plan begins. It has starts for ``pixels`` output pixels, ``window`` each, 1 without pooling, and
# ``words`` offsets. ``flip``: a bit for each lane whose output is reversed. ``target``: where its word of the first
# output pixel lies, ``stride`` words before that of the next; ``shift``: its first bit there.
_LAYER = ("starts", "pixels", "window", "offsets", "words", "stride")
_OWN = ("weights", "lanes", "limits", "flip", "target", "shift")
GROUP = np.dtype([(name, np.int64) for name in (*_LAYER, *_OWN)])


class Plan(NamedTuple):
    """What the engine reads besides the images: the arrays of all layers, each flat and joined to one."""

    thresholds: NDArray[np.int32]  # (planes,) of the input
    strips: NDArray[np.void]  # STRIP
    groups: NDArray[np.void]  # GROUP, the head's last
    head: int  # number of the first group of the head
    fan_in: int  # K of the head
    starts: NDArray[np.int64]  # where the kernel begins at each of its places
    offsets: NDArray[np.int64]  # from there to each input word
    weights: NDArray[np.uint32]  # of each group (words, lanes)
    limits: NDArray[np.int32]  # of each group (lanes,) the largest number of mismatches that gives 1
    size: int  # words for one image


@dataclass(frozen=True)
class _Piece:
    """One input word: its offset from where the kernel begins, and the weights of its bits, (out, bits)."""

    offset: int
    weights: NDArray[np.bool_]


@dataclass(frozen=True)
class _Layer:
    """One layer; the head, which compares nothing, has limits and flips of 0. Channels are padded to whole groups."""

    groups: list[tuple[int, int]]  # first channel and lanes of each
    windows: NDArray[np.int64]  # (output pixels, places of each)
    offsets: NDArray[np.int64]  # (words,)
    weights: NDArray[np.uint32]  # (words, channels)
    limits: NDArray[np.int32]  # (channels,)
    flips: NDArray[np.bool_]  # (channels,)
    target: int  # where its output begins
    unit: int  # channels of one word of it: a word of bits, and of the head one count of mismatches

    @property
    def stride(self) -> int:
        """Words of one output pixel."""
        return _round_up(len(self.limits), self.unit) // self.unit


def lay_out(model: PackedModel, widths: Sequence[int], tile: int) -> Plan:
    """The plan of a model. widths: lanes of the vectors there are, widest first; tile: places of a kernel in one.

    `ModelError` for a model that is too large or does not hold together.
    """
    packed.check(model)
    strip_size = _round_up(model.side**2, max(widths))
    strips, pieces = _strips(model.layers()[0].weights, model.side, strip_size)
    # The engine reads strips in whole vectors, and up to the rows and columns of a word ahead.
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
    """The strips that the places of the first layer need, as `STRIP`, and its pieces. weights: (out, planes, k, k)."""
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
    """Parts of the first layer's kernel that fit a word, with their first plane, row and column.

    weights: (out, planes, k, k). A part is of several planes and whole rows, or of a part of one row; of all numbers of
    planes to a part, that with the fewest parts is taken.
    """

    def count(size: int) -> int:
        return sum(1 for _ in _corners(weights.shape[1], weights.shape[2], size))

    planes = min(range(min(weights.shape[1], MARKS), 0, -1), key=count)
    for first, y, x, rows, width in _corners(weights.shape[1], weights.shape[2], planes):
        yield first, y, x, weights[:, first : first + planes, y : y + rows, x : x + width]


def _corners(planes: int, kernel: int, size: int) -> Iterator[tuple[int, int, int, int, int]]:
    """First plane, row and column of each part of ``size`` planes, and its rows and columns before they are cut off."""
    for first in range(0, planes, size):
        width = min(kernel, WORD // min(size, planes - first))
        rows = min(kernel, WORD // (min(size, planes - first) * width))
        for y in range(0, kernel, rows):
            for x in range(0, kernel, width):
                yield first, y, x, rows, width


def _taps(weights: NDArray[np.bool_], side: int) -> Iterator[_Piece]:
    """The pieces of a later layer. side: of its input, in pixels; weights: (out, in, k, k)."""
    channels, kernel = weights.shape[1:3]
    stride = _words(channels)
    for y, x, word in np.ndindex(kernel, kernel, stride):
        yield _Piece((y * side + x) * stride + word, weights[:, word * WORD : (word + 1) * WORD, y, x])


def _windows(side: int, kernel: int, pool: int, tile: int) -> NDArray[np.int64]:
    """Pixels of a map where a kernel begins, for each output pixel: (output pixels, places of a pooling window).

    Places are repeated to fill the tiles of each window, or without pooling the last tile.
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
    """First channel and lanes of each group: of the most lanes, and for the rest of the fewest that hold it."""
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
        limits[outputs:] = -1  # lanes without a channel give 0
        flips[:outputs] = layer.flipped
    offsets = np.array([piece.offset for piece in pieces], np.int64)
    return _Layer(groups, windows, offsets, weights, limits, flips, target, unit=WORD if block else 1)


def _split(layer: _Layer, array: NDArray[Scalar]) -> list[NDArray[Scalar]]:
    """An array of (..., channels) by groups."""
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
    """A copy that begins with a cache line."""
    spacious = np.empty(array.nbytes + LINE, np.uint8)
    begin = -spacious.ctypes.data % LINE
    copy = spacious[begin : begin + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def _words(channels: int) -> int:
    return _round_up(channels, WORD) // WORD


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
