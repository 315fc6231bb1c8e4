"""A tiny packed network in both versions of the file format: its fields, its bytes, and damaged copies of them."""

from __future__ import annotations

import dataclasses
import zlib
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from support.paths import ROOT

from bnnlib.packed.model import Block, Head, PackedModel

GOLDEN = ROOT / "tests/packed/golden"


def bits(*rows: str) -> NDArray[np.bool_]:
    """Weights from rows of signs, all in one row: + is +1, - is -1."""
    return np.array([sign == "+" for sign in "".join(rows)])


# The example of docs/format.md, version 2.
TINY = PackedModel(
    side=4,
    input_thresholds=(64, 192),
    blocks=(
        Block(
            weights=bits("+-", "--", "++", "-+", "-+", "++", "+-", "-+", "++", "-+", "--", "+-").reshape(3, 2, 2, 2),
            thresholds=np.array([2, 2, -8], np.int32),
            flipped=np.array([0, 1, 0], np.bool_),
            pool=2,
        ),
    ),
    head=Head(
        weights=bits("+++", "-++").reshape(2, 3, 1, 1),
        scale=np.array([0.5, -0.25], np.float32),
        offset=np.array([1, 0], np.float32),
    ),
)
# Each field and its bytes, worked out by hand.
FIELDS = [
    ("magic", "89 42 4e 4e"),
    ("version", "02 00"),
    ("length", "45 00 00 00"),
    ("side", "04 00"),
    ("input planes", "02 00"),
    ("blocks", "01 00"),
    ("input thresholds", "40 00 c0 00"),
    ("block: channels, kernel, pool", "03 00 02 00 02 00"),
    ("head: classes, kernel, pool", "02 00 01 00 01 00"),
    ("block: weights", "b1 9e 4b"),  # 1000 1101, 0111 1001, 1101 0010; the first bit is the lowest
    ("block: thresholds", "02 00 00 00 02 00 00 00 f8 ff ff ff"),
    ("block: flipped", "02"),
    ("head: weights", "37"),  # 111, 011 and two bits of padding
    ("head: scale", "00 00 00 3f 00 00 80 be"),
    ("head: offset", "00 00 80 3f 00 00 00 00"),
    ("checksum", "6b fa 32 eb"),
]
CONTENT = bytes.fromhex("".join(text for _, text in FIELDS))

# An example of version 1: one plane, no pooling.
TINY_1 = PackedModel(
    side=3,
    input_thresholds=(128,),
    blocks=(
        Block(
            weights=bits("+-", "--", "++", "-+", "-+", "+-").reshape(3, 1, 2, 2),
            thresholds=np.array([2, 2, -4], np.int32),
            flipped=np.array([0, 1, 0], np.bool_),
        ),
    ),
    head=Head(
        weights=bits("++++" * 3, "----", "+-+-", "++--").reshape(2, 3, 2, 2),
        scale=np.array([0.5, -0.25], np.float32),
        offset=np.array([1, 0], np.float32),
    ),
)
FIELDS_1 = [
    ("magic", "89 42 4e 4e"),
    ("version", "01 00"),
    ("length", "3e 00 00 00"),
    ("side", "03 00"),
    ("input threshold", "80 00"),
    ("blocks", "01 00"),
    ("block: channels, kernel", "03 00 02 00"),
    ("head: classes, kernel", "02 00 02 00"),
    ("block: weights", "b1 06"),  # 1000 1101, 0110 and four bits of padding
    ("block: thresholds", "02 00 00 00 02 00 00 00 fc ff ff ff"),
    ("block: flipped", "02"),
    ("head: weights", "ff 0f 35"),  # 1111 1111, 1111 0000, 1010 1100
    ("head: scale", "00 00 00 3f 00 00 80 be"),
    ("head: offset", "00 00 80 3f 00 00 00 00"),
    ("checksum", "53 8c d9 d2"),
]
CONTENT_1 = bytes.fromhex("".join(text for _, text in FIELDS_1))


def offsets(fields: list[tuple[str, str]]) -> dict[str, int]:
    """Where each field begins."""
    ends = accumulate(len(bytes.fromhex(text)) for _, text in fields)
    return dict(zip([name for name, _ in fields], [0, *ends], strict=False))


AT, AT_1 = offsets(FIELDS), offsets(FIELDS_1)


def sealed(content: bytes, length: int | None = None) -> bytes:
    """Bytes without a checksum, completed with their length (or another one) and their checksum."""
    declared = len(content) + 4 if length is None else length
    content = content[: AT["length"]] + declared.to_bytes(4, "little") + content[AT["side"] :]
    return content + zlib.crc32(content).to_bytes(4, "little")


def changed(field: str, text: str, offset: int = 0) -> bytes:
    """The file of version 2 with other bytes in a field, `offset` bytes after its start, sealed."""
    return patched(CONTENT, AT[field] + offset, text)


def changed_1(field: str, text: str, offset: int = 0) -> bytes:
    """The same of the file of version 1."""
    return patched(CONTENT_1, AT_1[field] + offset, text)


def patched(content: bytes, start: int, text: str) -> bytes:
    """A file with other bytes at ``start``, sealed."""
    new = bytes.fromhex(text)
    return sealed(content[:start] + new + content[start + len(new) : -4])


def assert_equal(found: PackedModel, expected: PackedModel) -> None:
    """Both have the same values of the same types, arrays bit for bit."""
    assert (found.side, found.input_thresholds) == (expected.side, expected.input_thresholds)
    for one, other in zip(found.layers(), expected.layers(), strict=True):
        assert type(one) is type(other)
        for part in dataclasses.fields(one):
            left, right = getattr(one, part.name), getattr(other, part.name)
            assert type(left) is type(right)
            if isinstance(left, np.ndarray):
                assert (left.dtype, left.shape) == (right.dtype, right.shape)
                assert left.tobytes() == right.tobytes(), part.name
            else:
                assert left == right, part.name
