"""The packed file (.bnn), version 1: bytes in, model out, and back. docs/format.md describes it field by field.

All numbers are little-endian, nothing is aligned. Reading allocates nothing that the file's own length does not cover.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bnnlib.errors import BnnError
from bnnlib.packed import model as packed
from bnnlib.packed.model import Block, Head, ModelError, PackedModel, Shape

T = TypeVar("T", bound=np.generic)

MAGIC = b"\x89BNN"
VERSION = 1
START = struct.Struct("<4sHI")  # magic, version, length of the whole file
TOPOLOGY = struct.Struct("<HHH")  # side, input threshold, number of blocks
LAYER = struct.Struct("<HH")  # output channels, kernel
CHECKSUM = struct.Struct("<I")  # CRC-32 of all bytes before it
SMALLEST = START.size + TOPOLOGY.size + LAYER.size + CHECKSUM.size
VERSION_END = 6
BYTE = np.dtype(np.uint8)
INTEGER = np.dtype("<i4")
FLOAT = np.dtype("<f4")


class FormatError(BnnError):
    """Bytes that are no packed model of this version; the message names the field."""


def encode(model: PackedModel) -> bytes:
    """The file of a model, the same bytes each time; `ModelError` for a model that could not be read back."""
    packed.check(model)
    parts = [TOPOLOGY.pack(model.side, model.input_threshold, len(model.blocks))]
    parts += [LAYER.pack(len(layer.weights), layer.weights.shape[2]) for layer in model.layers()]
    for block in model.blocks:
        parts += [_bits(block.weights), block.thresholds.astype(INTEGER).tobytes(), _bits(block.flipped)]
    head = model.head
    parts += [_bits(head.weights), head.scale.astype(FLOAT).tobytes(), head.offset.astype(FLOAT).tobytes()]
    payload = b"".join(parts)
    content = START.pack(MAGIC, VERSION, START.size + len(payload) + CHECKSUM.size) + payload
    return content + CHECKSUM.pack(zlib.crc32(content))


def decode(data: bytes) -> PackedModel:
    """Read a file's content; `FormatError` names the first field at fault.

    Magic and version come first, so that a file of a later version is told from a damaged one; then length and
    checksum, then the fields in their order.
    """
    _check_frame(data)
    side, input_threshold, blocks = TOPOLOGY.unpack_from(data, START.size)
    try:
        packed.check_start(side, input_threshold, blocks)
        shapes = _shapes(data, blocks)
        packed.check_shapes(side, shapes)
        _check_length(data, _size(shapes))
        reader = _Reader(data, START.size + TOPOLOGY.size + len(shapes) * LAYER.size)
        *inner, last = zip(packed.names(blocks), shapes, strict=True)
        read = tuple(_read_block(reader, name, shape) for name, shape in inner)
        model = PackedModel(side, input_threshold, read, _read_head(reader, *last))
        packed.check(model)
    except ModelError as error:
        raise FormatError(f"packed model: {error}") from error
    return model


def _check_frame(data: bytes) -> None:
    """Check magic, version, length and checksum."""
    magic = data[: len(MAGIC)]
    if magic != MAGIC:
        raise FormatError(f"packed model: magic: {magic!r}, expected {MAGIC!r}: this is no packed model")
    version = int.from_bytes(data[len(MAGIC) : VERSION_END], "little")
    if len(data) >= VERSION_END and version != VERSION:
        raise FormatError(f"packed model: version: {version}, expected {VERSION}: use the bnnlib that wrote the file")
    if len(data) < SMALLEST:
        raise FormatError(f"packed model: length: {len(data)} bytes, but the smallest model takes {SMALLEST}")
    _, _, declared = START.unpack_from(data)
    _check_length(data, declared)
    (checksum,) = CHECKSUM.unpack(data[-CHECKSUM.size :])
    found = zlib.crc32(data[: -CHECKSUM.size])
    if checksum != found:
        raise FormatError(f"packed model: checksum: 0x{checksum:08x}, but the content gives 0x{found:08x}: damaged")


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "oversized"
        raise FormatError(f"packed model: length: {len(data)} bytes, expected {expected}: {fault}")


def _shapes(data: bytes, blocks: int) -> list[Shape]:
    """Sizes of the layers, the head's last."""
    start = START.size + TOPOLOGY.size
    end = start + (blocks + 1) * LAYER.size
    if len(data) < end + CHECKSUM.size:
        raise FormatError(f"packed model: blocks: {blocks}, but the file of {len(data)} bytes ends among their sizes")
    shapes, channels = [], 1
    for out_channels, kernel in LAYER.iter_unpack(data[start:end]):
        shapes.append(Shape(out_channels, channels, kernel))
        channels = out_channels
    return shapes


def _size(shapes: Sequence[Shape]) -> int:
    """Bytes of a whole file with such layers."""
    table = START.size + TOPOLOGY.size + len(shapes) * LAYER.size
    weights = sum(_bit_bytes(shape.weights) for shape in shapes)
    norms = sum(shape.out_channels * INTEGER.itemsize + _bit_bytes(shape.out_channels) for shape in shapes[:-1])
    return table + weights + norms + 2 * shapes[-1].out_channels * FLOAT.itemsize + CHECKSUM.size


class _Reader:
    """Takes one field after the other from a content whose length is known to be right."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def array(self, dtype: np.dtype[T], count: int) -> NDArray[T]:
        """So many numbers as they stand in the file: a view, in the file's byte order."""
        found = np.frombuffer(self.data, dtype, count, self.position)
        self.position += found.nbytes
        return found

    def bits(self, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """An array of bits; those that fill up its last byte must be zero."""
        count = int(np.prod(shape))
        bits = np.unpackbits(self.array(BYTE, _bit_bytes(count)), bitorder="little")
        if bits[count:].any():
            raise FormatError(f"packed model: {name}: the padding bits after bit {count - 1} are not all zero")
        return bits[:count].astype(np.bool_).reshape(shape)


def _read_block(reader: _Reader, name: str, shape: Shape) -> Block:
    return Block(
        weights=_read_weights(reader, name, shape),
        thresholds=reader.array(INTEGER, shape.out_channels).astype(np.int32),
        flipped=reader.bits(f"{name}.flipped", (shape.out_channels,)),
    )


def _read_head(reader: _Reader, name: str, shape: Shape) -> Head:
    return Head(
        weights=_read_weights(reader, name, shape),
        scale=reader.array(FLOAT, shape.out_channels).astype(np.float32),
        offset=reader.array(FLOAT, shape.out_channels).astype(np.float32),
    )


def _read_weights(reader: _Reader, name: str, shape: Shape) -> NDArray[np.bool_]:
    return reader.bits(f"{name}.weights", (shape.out_channels, shape.in_channels, shape.kernel, shape.kernel))


def _bits(array: NDArray[np.bool_]) -> bytes:
    """Bits in C order, eight to a byte, the first in the lowest place, the last byte filled up with zeros."""
    return np.packbits(array, axis=None, bitorder="little").tobytes()


def _bit_bytes(count: int) -> int:
    """Bytes that so many bits take."""
    return -(-count // 8)
