"""The packed file (.bnn): bytes in, model out, and back. docs/format.md describes it field by field.

Version 3 is written for a model of several passes, version 2 for others; version 1 is read too. All numbers are
little-endian, nothing is aligned. Sizes are checked against the length of the file before anything is allocated for
them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed import model as packed
from bnnlib.packed.model import PLAIN, Block, Head, ModelError, PackedModel, Pass, Shape

T = TypeVar("T", bound=np.generic)

MAGIC = b"\x89BNN"
VERSION = 3
START = struct.Struct("<4sHI")  # magic, version, length of the whole file
TOPOLOGY = struct.Struct("<HHH")  # side, number of input planes (version 1: the one threshold), number of blocks
CHECKSUM = struct.Struct("<I")  # CRC-32 of all bytes before it
COLUMNS = {1: 2, 2: 3, 3: 3}  # numbers for each layer, by version: output channels, kernel and, from version 2, pool
VERSION_END = 6
BYTE = np.dtype(np.uint8)
SHORT = np.dtype("<u2")
SIGNED = np.dtype("<i2")
INTEGER = np.dtype("<i4")
FLOAT = np.dtype("<f4")


class FormatError(BnnError):
    """The bytes are not a packed model of a known version; the message names the field."""


def encode(model: PackedModel) -> bytes:
    """A model as the bytes of its file, the same each time; `ModelError` if it could not be read back."""
    packed.check(model)
    table = [[shape.out_channels, shape.kernel, shape.pool] for shape in model.shapes()]
    parts = [TOPOLOGY.pack(model.side, len(model.input_thresholds), len(model.blocks))]
    parts += [np.array(model.input_thresholds, SHORT).tobytes(), np.array(table, SHORT).tobytes()]
    version = VERSION if len(model.passes) > 1 else VERSION - 1
    if version == VERSION:
        parts += [np.array(len(model.passes), SHORT).tobytes(), np.array(model.passes, SIGNED).tobytes()]
    for block in model.blocks:
        parts += [_bits(block.weights), block.thresholds.astype(INTEGER).tobytes(), _bits(block.flipped)]
    head = model.head
    parts += [_bits(head.weights), head.scale.astype(FLOAT).tobytes(), head.offset.astype(FLOAT).tobytes()]
    payload = b"".join(parts)
    content = START.pack(MAGIC, version, START.size + len(payload) + CHECKSUM.size) + payload
    return content + CHECKSUM.pack(zlib.crc32(content))


def decode(data: bytes) -> PackedModel:
    """Read the bytes of a file; `FormatError` names the first wrong field.

    Magic and version are checked first, which tells a file of a later version from a damaged one; then length and
    checksum, then the fields in their order.
    """
    version = _check_frame(data)
    try:
        return _decode(data, version)
    except ModelError as error:
        raise FormatError(f"packed model: {error}") from error


def _decode(data: bytes, version: int) -> PackedModel:
    """Read the fields between start and checksum."""
    side, second, blocks = TOPOLOGY.unpack_from(data, START.size)
    planes = 1 if version == 1 else second
    _check_start(data, version, side, planes, blocks)
    reader = _Reader(data, START.size + TOPOLOGY.size)
    thresholds = (second,) if version == 1 else tuple(reader.array(SHORT, planes).tolist())
    packed.check_thresholds(thresholds)
    shapes = _read_shapes(reader, planes, blocks, COLUMNS[version])
    packed.check_shapes(side, planes, shapes)
    passes = int(reader.array(SHORT, 1)[0]) if version == VERSION else 0
    _check_length(data, reader.position + 3 * passes * SIGNED.itemsize + _content_size(shapes) + CHECKSUM.size)
    seen = _read_passes(reader, passes)
    *inner, last = zip(packed.names(blocks), shapes, strict=True)
    read = tuple(_read_block(reader, name, shape) for name, shape in inner)
    model = PackedModel(side, thresholds, read, _read_head(reader, *last), seen)
    packed.check(model)
    if version == VERSION and passes < 2:
        raise FormatError(f"packed model: passes: {passes}, expected several: the file of one is of version 2")
    return model


def _check_frame(data: bytes) -> int:
    """Check magic, version, length and checksum; return the version."""
    magic = data[: len(MAGIC)]
    if magic != MAGIC:
        raise FormatError(f"packed model: magic: {magic!r}, expected {MAGIC!r}: this is not a packed model")
    version = int.from_bytes(data[len(MAGIC) : VERSION_END], "little")
    if len(data) >= VERSION_END and version not in COLUMNS:
        raise FormatError(
            f"packed model: version: {version}, expected 1 to {VERSION}: use the bnnlib that wrote the file"
        )
    smallest = _smallest(version if version in COLUMNS else VERSION, planes=1, blocks=0)
    if len(data) < smallest:
        raise FormatError(f"packed model: length: {len(data)} bytes, but the smallest model takes {smallest}")
    _, _, declared = START.unpack_from(data)
    _check_length(data, declared)
    (checksum,) = CHECKSUM.unpack(data[-CHECKSUM.size :])
    found = zlib.crc32(data[: -CHECKSUM.size])
    if checksum != found:
        raise FormatError(f"packed model: checksum: 0x{checksum:08x}, but the content gives 0x{found:08x}: damaged")
    return version


def _check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        error = "truncated" if len(data) < expected else "oversized"
        raise FormatError(f"packed model: length: {len(data)} bytes, expected {expected}: {error}")


def _smallest(version: int, planes: int, blocks: int) -> int:
    """Bytes of a file before its weights, and of its checksum: a file with that many planes and blocks is larger."""
    thresholds = 0 if version == 1 else planes  # version 1 has its one threshold in place of the number of planes
    numbers = thresholds + (blocks + 1) * COLUMNS[version] + (version == VERSION)  # and the number of passes
    return START.size + TOPOLOGY.size + numbers * SHORT.itemsize + CHECKSUM.size


def _check_start(data: bytes, version: int, side: int, planes: int, blocks: int) -> None:
    """Check the first three sizes, and that the file is long enough for as many thresholds and layer sizes."""
    packed.check_start(side, planes, blocks)
    if len(data) < _smallest(version, planes, blocks):
        raise FormatError(
            f"packed model: blocks: {blocks} and input planes: {planes}: {len(data)} bytes are too few for their sizes "
            "and thresholds"
        )


def _content_size(shapes: Sequence[Shape]) -> int:
    """Bytes of the weights, thresholds, flips, scales and offsets of layers of these shapes."""
    weights = sum(_bit_bytes(shape.weights) for shape in shapes)
    norms = sum(shape.out_channels * INTEGER.itemsize + _bit_bytes(shape.out_channels) for shape in shapes[:-1])
    return weights + norms + 2 * shapes[-1].out_channels * FLOAT.itemsize


class _Reader:
    """Reads one field after the other from data whose length was checked."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def array(self, dtype: np.dtype[T], count: int) -> NDArray[T]:
        """The next ``count`` numbers: a view of the data, in its byte order."""
        found = np.frombuffer(self.data, dtype, count, self.position)
        self.position += found.nbytes
        return found

    def bits(self, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """The next array of bits; the padding bits of its last byte must be zero."""
        count = int(np.prod(shape))
        bits = np.unpackbits(self.array(BYTE, _bit_bytes(count)), bitorder="little")
        if bits[count:].any():
            raise FormatError(f"packed model: {name}: the padding bits after bit {count - 1} are not all zero")
        return bits[:count].astype(np.bool_).reshape(shape)


def _read_shapes(reader: _Reader, planes: int, blocks: int, columns: int) -> list[Shape]:
    """Sizes of the layers, the head's last, from the table of ``columns`` numbers for each."""
    table = reader.array(SHORT, (blocks + 1) * columns).reshape(blocks + 1, columns)
    shapes, channels = [], planes
    for out_channels, *kernel_and_pool in table.tolist():
        shapes.append(Shape(out_channels, channels, *kernel_and_pool))
        channels = out_channels
    return shapes


def _read_passes(reader: _Reader, count: int) -> tuple[Pass, ...]:
    """The passes; a file before version 3 has one that sees the image as it is."""
    numbers = reader.array(SIGNED, 3 * count).reshape(count, 3)
    return tuple(Pass(*each) for each in numbers.tolist()) or (PLAIN,)


def _read_block(reader: _Reader, name: str, shape: Shape) -> Block:
    return Block(
        weights=_read_weights(reader, name, shape),
        thresholds=reader.array(INTEGER, shape.out_channels).astype(np.int32),
        flipped=reader.bits(f"{name}.flipped", (shape.out_channels,)),
        pool=shape.pool,
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
    """Bits in C order, eight to a byte, the first bit lowest, the last byte padded with zeros."""
    return np.packbits(array, axis=None, bitorder="little").tobytes()


def _bit_bytes(count: int) -> int:
    """Bytes that ``count`` bits take."""
    return -(-count // 8)
