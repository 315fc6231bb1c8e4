"""The packed file: golden bytes of both versions, round trips, and every way in which a file can be wrong."""

from __future__ import annotations

import dataclasses
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import networks
from support.paths import ROOT

from bnnlib.packed import format as packed_format
from bnnlib.packed import model as packed
from bnnlib.packed.format import FormatError
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

GOLDEN = Path(__file__).parent / "golden"
PAGE = ROOT / "docs/format.md"


def bits(*rows: str) -> NDArray[np.bool_]:
    """Rows of weights, + for +1 and - for -1, one behind the other."""
    return np.array([sign == "+" for sign in "".join(rows)])


# The example of docs/format.md.
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
# Field, its bytes worked out by hand.
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

# The same of version 1: one plane, no pooling.
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
    """A content without checksum, given its right length (or another one) and its checksum."""
    declared = len(content) + 4 if length is None else length
    content = content[: AT["length"]] + declared.to_bytes(4, "little") + content[AT["side"] :]
    return content + zlib.crc32(content).to_bytes(4, "little")


def changed(field: str, text: str, offset: int = 0) -> bytes:
    """The tiny file with other bytes in a field, sealed."""
    return patched(CONTENT, AT[field] + offset, text)


def changed_1(field: str, text: str, offset: int = 0) -> bytes:
    """`changed` of version 1."""
    return patched(CONTENT_1, AT_1[field] + offset, text)


def patched(content: bytes, start: int, text: str) -> bytes:
    """A file with other bytes from ``start`` on, sealed."""
    new = bytes.fromhex(text)
    return sealed(content[:start] + new + content[start + len(new) : -4])


def assert_equal(found: PackedModel, expected: PackedModel) -> None:
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


def test_golden_bytes() -> None:
    assert (GOLDEN / "tiny_v2.bnn").read_bytes() == CONTENT
    assert packed_format.encode(TINY) == CONTENT
    assert_equal(packed_format.decode(CONTENT), TINY)


def test_golden_bytes_of_version_1() -> None:
    assert (GOLDEN / "tiny_v1.bnn").read_bytes() == CONTENT_1
    assert_equal(packed_format.decode(CONTENT_1), TINY_1)


def test_a_file_of_version_1_is_written_as_version_2_with_the_same_model() -> None:
    for name in ("tiny_v1.bnn", "baseline_v1.bnn"):
        old = (GOLDEN / name).read_bytes()
        model = packed_format.decode(old)
        new = packed_format.encode(model)
        assert new[4:6] == b"\2\0"
        assert_equal(packed_format.decode(new), model)
        layers = len(model.layers())
        assert new[18 + 6 * layers : -4] == old[16 + 4 * layers : -4]  # all after the layers' sizes


def test_the_baseline_is_the_network_that_the_study_started_from() -> None:
    model = networks.baseline()
    assert len(networks.BASELINE.read_bytes()) == 7311
    assert len(packed_format.encode(model)) == 7321
    assert (model.side, model.input_thresholds) == (28, (64,))
    assert [tuple(shape) for shape in model.shapes()] == [(32, 1, 9, 1), (16, 32, 9, 1), (8, 16, 9, 1), (10, 8, 4, 1)]


def test_the_documented_example_is_the_golden_file() -> None:
    example = PAGE.read_text(encoding="utf-8").partition("## Worked example")[2]
    rows = [line.split("|") for line in example.splitlines() if re.match(r"\| \d+ \| `", line)]
    fields = [(int(row[1]), bytes.fromhex(row[2].replace("`", ""))) for row in rows]
    assert b"".join(field for _, field in fields) == CONTENT
    assert [offset for offset, _ in fields] == list(AT.values())[: len(fields)]


@pytest.mark.parametrize("name", networks.SIZES)
def test_round_trip(name: str) -> None:
    model, _ = networks.draw(name)
    content = packed_format.encode(model)
    assert_equal(packed_format.decode(content), model)
    assert packed_format.encode(packed_format.decode(content)) == content


def test_a_negative_zero_survives() -> None:
    offset = np.array([-0.0, 0.0], np.float32)
    model = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, offset=offset))
    assert_equal(packed_format.decode(packed_format.encode(model)), model)


def test_every_change_of_one_byte_is_refused() -> None:
    for position in range(len(CONTENT)):
        for change in range(1, 256):
            damaged = bytearray(CONTENT)
            damaged[position] ^= change
            with pytest.raises(FormatError):
                packed_format.decode(bytes(damaged))


def test_every_truncation_is_refused() -> None:
    for length in range(len(CONTENT)):
        with pytest.raises(FormatError, match=r"magic|length"):
            packed_format.decode(CONTENT[:length])
        if length > AT["side"] + 4:  # sealed again, with the length it has
            with pytest.raises(FormatError, match=r"length|blocks"):
                packed_format.decode(sealed(CONTENT[: length - 4]))


def test_every_truncation_of_version_1_is_refused() -> None:
    for length in range(AT_1["side"] + 4, len(CONTENT_1)):
        with pytest.raises(FormatError, match=r"length|blocks"):
            packed_format.decode(sealed(CONTENT_1[: length - 4]))


@pytest.mark.parametrize(("content", "smallest"), [(CONTENT, 28), (CONTENT_1, 24)])
def test_fewer_bytes_than_any_model_takes(content: bytes, smallest: int) -> None:
    message = f"length: {smallest - 1} bytes, but the smallest model takes {smallest}"
    with pytest.raises(FormatError, match=message):
        packed_format.decode(content[: smallest - 1])
    with pytest.raises(FormatError, match=message):
        packed_format.decode(sealed(content[: smallest - 5]))


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4, CONTENT])
@pytest.mark.parametrize("content", [CONTENT, CONTENT_1])
def test_bytes_behind_the_end_are_refused(content: bytes, tail: bytes) -> None:
    length = len(content)
    with pytest.raises(FormatError, match=rf"length: {length + len(tail)} bytes, expected {length}: oversized"):
        packed_format.decode(content + tail)
    with pytest.raises(FormatError, match=rf"length: {length + len(tail)} bytes, expected {length}: oversized"):
        packed_format.decode(sealed(content[:-4] + tail))


def test_another_version_is_named_before_all_that_it_may_have_changed() -> None:
    newer = CONTENT[:4] + b"\x03\x00" + b"\xff" * 90
    with pytest.raises(FormatError, match="version: 3, expected 1 or 2"):
        packed_format.decode(newer)
    with pytest.raises(FormatError, match="version: 3, expected 1 or 2"):
        packed_format.decode(newer[:6])


# Bytes of a field, sealed, and what the message names.
WRONG = [
    ("magic", "89 42 4e 4d", 0, r"magic: b'\x89BNM', expected b'\x89BNN'"),
    ("version", "00 00", 0, "version: 0, expected 1 or 2"),
    ("version", "02 01", 0, "version: 258, expected 1 or 2"),
    ("version", "01 00", 0, "blocks[0].kernel: 192, expected 1 to 4"),  # there the layers begin 4 bytes before
    ("side", "00 00", 0, "side: 0, expected 1 to 256"),
    ("side", "01 01", 0, "side: 257, expected 1 to 256"),
    ("side", "05 00", 0, "head.kernel: 1, expected 2: the head covers its whole map of 2 x 2"),
    ("side", "02 00", 0, "blocks[0].pool: 2, expected 1"),
    ("input planes", "00 00", 0, "input planes: 0, expected 1 to 64"),
    ("input planes", "41 00", 0, "input planes: 65, expected 1 to 64"),
    ("input planes", "40 00", 0, "blocks: 1 and input planes: 64, but the file of 69 bytes ends among their sizes"),
    ("input thresholds", "01 01", 0, "input_thresholds[0]: 257, expected 0 to 256"),
    ("input thresholds", "ff ff", 2, "input_thresholds[1]: 65535, expected 0 to 256"),
    ("blocks", "00 00", 0, "head.pool: 2, expected 1"),
    ("blocks", "11 00", 0, "blocks: 17, expected 0 to 16"),
    ("blocks", "10 00", 0, "blocks: 16 and input planes: 2, but the file of 69 bytes ends among their sizes"),
    ("block: channels, kernel, pool", "00 00", 0, "blocks[0].out_channels: 0, expected 1 to 1024"),
    ("block: channels, kernel, pool", "01 04", 0, "blocks[0].out_channels: 1025, expected 1 to 1024"),
    ("block: channels, kernel, pool", "04 00", 0, "length: 69 bytes, expected 74: truncated"),
    ("block: channels, kernel, pool", "00 00", 2, "blocks[0].kernel: 0, expected 1 to 4"),
    ("block: channels, kernel, pool", "05 00", 2, "blocks[0].kernel: 5, expected 1 to 4"),
    ("block: channels, kernel, pool", "00 00", 4, "blocks[0].pool: 0, expected 1 to 3"),
    ("block: channels, kernel, pool", "04 00", 4, "blocks[0].pool: 4, expected 1 to 3"),
    ("block: channels, kernel, pool", "01 00", 4, "head.kernel: 1, expected 3"),
    ("head: classes, kernel, pool", "00 00", 0, "head.out_channels: 0, expected 1 to 1024"),
    ("head: classes, kernel, pool", "01 00", 0, "length: 69 bytes, expected 61: oversized"),
    ("head: classes, kernel, pool", "02 00", 2, "head.kernel: 2, expected 1"),
    ("head: classes, kernel, pool", "00 00", 4, "head.pool: 0, expected 1"),
    ("head: classes, kernel, pool", "02 00", 4, "head.pool: 2, expected 1"),
    ("head: weights", "77", 0, "head.weights: the padding bits after bit 5 are not all zero"),
    ("block: thresholds", "f7 ff ff ff", 0, "blocks[0].thresholds[0]: -9, expected -8 to 9"),
    ("block: thresholds", "0a 00 00 00", 8, "blocks[0].thresholds[2]: 10, expected -8 to 9"),
    ("block: flipped", "0a", 0, "blocks[0].flipped: the padding bits after bit 2 are not all zero"),
    ("head: scale", "00 00 c0 7f", 0, "head.scale[0]: nan, expected a finite number"),
    ("head: scale", "00 00 80 ff", 4, "head.scale[1]: -inf, expected a finite number"),
    ("head: scale", "00 00 00 7f", 0, "head.scale[0]: 1.7014118346046923e+38"),  # 3 * 2**127 is too large
    ("head: offset", "00 00 80 7f", 0, "head.offset[0]: inf, expected a finite number"),
    ("head: offset", "00 00 c0 7f", 4, "head.offset[1]: nan, expected a finite number"),
]
# The same of a file of version 1, where it differs.
WRONG_1 = [
    ("version", "02 00", 0, "input planes: 128, expected 1 to 64"),
    ("side", "04 00", 0, "head.kernel: 2, expected 3: the head covers its whole map of 3 x 3"),
    ("input threshold", "01 01", 0, "input_thresholds[0]: 257, expected 0 to 256"),
    ("blocks", "10 00", 0, "blocks: 16 and input planes: 1, but the file of 62 bytes ends among their sizes"),
    ("block: channels, kernel", "04 00", 0, "length: 62 bytes, expected 67: truncated"),
    ("block: channels, kernel", "04 00", 2, "blocks[0].kernel: 4, expected 1 to 3"),
    ("head: classes, kernel", "01 00", 0, "length: 62 bytes, expected 53: oversized"),
    ("block: weights", "16", 1, "blocks[0].weights: the padding bits after bit 11 are not all zero"),
]


@pytest.mark.parametrize(("field", "text", "offset", "message"), WRONG)
def test_a_wrong_field_is_named(field: str, text: str, offset: int, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        packed_format.decode(changed(field, text, offset))
    assert str(caught.value).startswith(f"packed model: {message}")


# Where several fields are wrong the message names the first.
FIRST = {
    "side": "side: 65535",
    "input planes": "input planes: 65535",
    "blocks": "blocks: 65535",
    "input thresholds": "input_thresholds[0]: 65535",
    "block: channels, kernel, pool": "blocks[0].out_channels: 65535",
    "head: classes, kernel, pool": "head.out_channels: 65535",
    "block: flipped": "blocks[0].flipped: the padding",
    "head: weights": "head.weights: the padding",
}


@pytest.mark.parametrize(("field", "message"), FIRST.items())
def test_the_first_wrong_field_is_named(field: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        packed_format.decode(changed(field, "ff" * (len(CONTENT) - 4 - AT[field])))
    assert str(caught.value).startswith(f"packed model: {message}")


@pytest.mark.parametrize(("field", "text", "offset", "message"), WRONG_1)
def test_a_wrong_field_of_version_1_is_named(field: str, text: str, offset: int, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        packed_format.decode(changed_1(field, text, offset))
    assert str(caught.value).startswith(f"packed model: {message}")


@pytest.mark.parametrize(("text", "threshold"), [("f8 ff ff ff", -8), ("09 00 00 00", 9)])
def test_thresholds_at_both_ends_are_allowed(text: str, threshold: int) -> None:
    assert packed_format.decode(changed("block: thresholds", text)).blocks[0].thresholds[0] == threshold


def test_a_wrong_checksum_is_named() -> None:
    with pytest.raises(FormatError, match=r"checksum: 0x00000000, but the content gives 0x[0-9a-f]{8}: damaged"):
        packed_format.decode(CONTENT[:-4] + bytes(4))


def test_a_length_that_lies_is_refused() -> None:
    with pytest.raises(FormatError, match="length: 69 bytes, expected 4294967295: truncated"):
        packed_format.decode(sealed(CONTENT[:-4], 2**32 - 1))


def test_sizes_that_the_file_does_not_cover_allocate_nothing() -> None:
    # 1024 channels, kernel 64: 2**32 weights a layer; the map goes from 256 to 4 pixels a side
    layers = struct.pack("<15H", *(1024, 64, 1) * 4, 1024, 4, 1)
    content = sealed(CONTENT[: AT["side"]] + struct.pack("<3H64H", 256, 64, 4, *range(64)) + layers)
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"length: 178 bytes, expected \d{10}: truncated"):
        packed_format.decode(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: CONTENT[:6] + tail))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        packed_format.decode(content)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([CONTENT, CONTENT_1]),
    st.integers(AT["side"], len(CONTENT) - 5),
    st.binary(max_size=8),
    st.binary(max_size=60) | st.none(),
)
def test_sealed_bytes_are_refused_or_are_a_model(
    content: bytes, position: int, patch: bytes, payload: bytes | None
) -> None:
    position = min(position, len(content) - 5)
    body = content[:position] + patch + content[position + len(patch) : -4]
    content = sealed(body if payload is None else content[: AT["side"]] + payload)
    try:
        model = packed_format.decode(content)
    except FormatError:
        return
    written = packed_format.encode(model)
    if content[4] == packed_format.VERSION:
        assert written == content  # the one form of this model
    assert_equal(packed_format.decode(written), model)


def block(**changes: object) -> PackedModel:
    return dataclasses.replace(TINY, blocks=(dataclasses.replace(TINY.blocks[0], **changes),))  # type: ignore[arg-type]


def head(**changes: object) -> PackedModel:
    return dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, **changes))  # type: ignore[arg-type]


UNFIT: dict[str, Callable[[], PackedModel]] = {
    "side: 257, expected 1 to 256": lambda: dataclasses.replace(TINY, side=257),
    "input planes: 0, expected 1 to 64": lambda: dataclasses.replace(TINY, input_thresholds=()),
    "input planes: 65, expected 1 to 64": lambda: dataclasses.replace(TINY, input_thresholds=(1,) * 65),
    "input_thresholds[1]: -1, expected 0 to 256": lambda: dataclasses.replace(TINY, input_thresholds=(0, -1)),
    "blocks: 17, expected 0 to 16": lambda: dataclasses.replace(TINY, blocks=TINY.blocks * 17),
    "blocks[0].in_channels: 1, expected 2": lambda: block(weights=np.zeros((3, 1, 2, 2), np.bool_)),
    "blocks[0].weights: shape (3, 2, 2, 3), expected a square": lambda: block(weights=np.zeros((3, 2, 2, 3), np.bool_)),
    "blocks[0].weights: uint8 (3, 2, 2, 2), expected bool": lambda: block(weights=np.zeros((3, 2, 2, 2), np.uint8)),
    "blocks[0].weights: bool (3, 2, 4), expected bool of 4": lambda: block(weights=np.zeros((3, 2, 4), np.bool_)),
    "blocks[0].pool: 0, expected 1 to 3": lambda: block(pool=0),
    "blocks[0].pool: 4, expected 1 to 3": lambda: block(pool=4),
    "blocks[0].thresholds: 2 numbers, expected 3": lambda: block(thresholds=np.zeros(2, np.int32)),
    "blocks[0].thresholds: int64 (3,), expected int32": lambda: block(thresholds=np.zeros(3, np.int64)),
    "blocks[0].thresholds[1]: 10, expected -8 to 9": lambda: block(thresholds=np.array([0, 10, 0], np.int32)),
    "blocks[0].flipped: 4 numbers, expected 3": lambda: block(flipped=np.zeros(4, np.bool_)),
    "head.in_channels: 2, expected 3": lambda: head(weights=np.zeros((2, 2, 1, 1), np.bool_)),
    "head.kernel: 2, expected 1": lambda: head(weights=np.zeros((2, 3, 2, 2), np.bool_)),
    "head.scale: 1 numbers, expected 2": lambda: head(scale=np.zeros(1, np.float32)),
    "head.scale[1]: inf, expected a finite number": lambda: head(scale=np.array([0, np.inf], np.float32)),
    "head.offset: float64 (2,), expected float32": lambda: head(offset=np.zeros(2)),
    "head.offset[0]: nan, expected a finite number": lambda: head(offset=np.array([np.nan, 0], np.float32)),
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_model_that_does_not_fit_is_not_written(message: str) -> None:
    with pytest.raises(ModelError) as caught:
        packed_format.encode(UNFIT[message]())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 5, 4), (4, 4), (1, 1, 4, 4)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"images: uint8 .*, expected uint8 \(number of images, 4, 4\)"):
        packed.check_images(TINY, np.zeros(shape, np.uint8))


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images: float64 \(2, 4, 4\)"):
        packed.check_images(TINY, np.zeros((2, 4, 4)))  # type: ignore[arg-type]
