"""The packed file: golden bytes of version 1, round trips, and every way in which a file can be wrong."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnlib.packed import format as packed_format
from bnnlib.packed import model as packed
from bnnlib.packed.format import FormatError
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

GOLDEN = Path(__file__).parent / "golden/tiny_v1.bnn"
PAGE = Path(__file__).resolve().parents[1] / "docs/format.md"

# The example of docs/format.md.
TINY = PackedModel(
    side=3,
    input_threshold=128,
    blocks=(
        Block(
            weights=np.array([[[[1, 0], [0, 0]]], [[[1, 1], [0, 1]]], [[[0, 1], [1, 0]]]], np.bool_),
            thresholds=np.array([2, 2, -4], np.int32),
            flipped=np.array([0, 1, 0], np.bool_),
        ),
    ),
    head=Head(
        weights=np.array([[[[1, 1], [1, 1]]] * 3, [[[0, 0], [0, 0]], [[1, 0], [1, 0]], [[1, 1], [0, 0]]]], np.bool_),
        scale=np.array([0.5, -0.25], np.float32),
        offset=np.array([1, 0], np.float32),
    ),
)
# Field, its bytes worked out by hand.
FIELDS = [
    ("magic", "89 42 4e 4e"),
    ("version", "01 00"),
    ("length", "3e 00 00 00"),
    ("side", "03 00"),
    ("input threshold", "80 00"),
    ("blocks", "01 00"),
    ("block: channels, kernel", "03 00 02 00"),
    ("head: classes, kernel", "02 00 02 00"),
    ("block: weights", "b1 06"),  # 1000 1101, 0110 and four bits of padding; the first bit is the lowest
    ("block: thresholds", "02 00 00 00 02 00 00 00 fc ff ff ff"),
    ("block: flipped", "02"),
    ("head: weights", "ff 0f 35"),  # 1111 1111, 1111 0000, 1010 1100
    ("head: scale", "00 00 00 3f 00 00 80 be"),
    ("head: offset", "00 00 80 3f 00 00 00 00"),
    ("checksum", "53 8c d9 d2"),
]
CONTENT = bytes.fromhex("".join(text for _, text in FIELDS))
# Where each field of the tiny file begins.
AT = dict(
    zip(
        [name for name, _ in FIELDS],
        np.cumsum([0, *(len(bytes.fromhex(text)) for _, text in FIELDS)]).tolist(),
        strict=False,
    )
)


def sealed(content: bytes, length: int | None = None) -> bytes:
    """A content without checksum, given its right length (or another one) and its checksum."""
    declared = len(content) + 4 if length is None else length
    content = content[: AT["length"]] + declared.to_bytes(4, "little") + content[AT["side"] :]
    return content + zlib.crc32(content).to_bytes(4, "little")


def changed(field: str, text: str, offset: int = 0) -> bytes:
    """The tiny file with other bytes in a field, sealed."""
    start, new = AT[field] + offset, bytes.fromhex(text)
    return sealed(CONTENT[:start] + new + CONTENT[start + len(new) : -4])


def assert_equal(found: PackedModel, expected: PackedModel) -> None:
    assert (found.side, found.input_threshold) == (expected.side, expected.input_threshold)
    for one, other in zip(found.layers(), expected.layers(), strict=True):
        assert type(one) is type(other)
        for part in dataclasses.fields(one):
            left, right = getattr(one, part.name), getattr(other, part.name)
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes(), part.name


def test_golden_bytes() -> None:
    assert GOLDEN.read_bytes() == CONTENT
    assert packed_format.encode(TINY) == CONTENT
    assert_equal(packed_format.decode(CONTENT), TINY)


def test_the_documented_example_is_the_golden_file() -> None:
    example = PAGE.read_text(encoding="utf-8").partition("## Worked example")[2]
    rows = [line.split("|") for line in example.splitlines() if re.match(r"\| \d+ \| `", line)]
    fields = [(int(row[1]), bytes.fromhex(row[2].replace("`", ""))) for row in rows]
    assert b"".join(field for _, field in fields) == CONTENT
    assert [offset for offset, _ in fields] == list(AT.values())[: len(fields)]


@pytest.mark.parametrize("name", networks.SHAPES)
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
        if length > 24:  # sealed anew, with the length it has
            with pytest.raises(FormatError, match=r"length|blocks"):
                packed_format.decode(sealed(CONTENT[: length - 4]))


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4, CONTENT])
def test_bytes_behind_the_end_are_refused(tail: bytes) -> None:
    with pytest.raises(FormatError, match=rf"length: {62 + len(tail)} bytes, expected 62: oversized"):
        packed_format.decode(CONTENT + tail)
    with pytest.raises(FormatError, match=rf"length: {62 + len(tail)} bytes, expected 62: oversized"):
        packed_format.decode(sealed(CONTENT[:-4] + tail))


def test_another_version_is_named_before_all_that_it_may_have_changed() -> None:
    newer = CONTENT[:4] + b"\x02\x00" + b"\xff" * 90
    with pytest.raises(FormatError, match="version: 2, expected 1"):
        packed_format.decode(newer)
    with pytest.raises(FormatError, match="version: 2, expected 1"):
        packed_format.decode(newer[:6])


# Bytes of a field, sealed, and what the message names.
WRONG = [
    ("magic", "89 42 4e 4d", 0, r"magic: b'\x89BNM', expected b'\x89BNN'"),
    ("version", "00 00", 0, "version: 0, expected 1"),
    ("version", "01 01", 0, "version: 257, expected 1"),
    ("side", "00 00", 0, "side: 0, expected 1 to 256"),
    ("side", "01 01", 0, "side: 257, expected 1 to 256"),
    ("side", "04 00", 0, "head.kernel: 2, expected 3: the head covers its whole map of 3 x 3"),
    ("side", "02 00", 0, "head.kernel: 2, expected 1"),
    ("input threshold", "01 01", 0, "input_threshold: 257, expected 0 to 256"),
    ("blocks", "00 00", 0, "head.kernel: 2, expected 3: the head covers its whole map of 3 x 3"),
    ("blocks", "11 00", 0, "blocks: 17, expected 0 to 16"),
    ("blocks", "10 00", 0, "blocks: 16, but the file of 62 bytes ends among their sizes"),
    ("block: channels, kernel", "00 00", 0, "blocks[0].out_channels: 0, expected 1 to 1024"),
    ("block: channels, kernel", "01 04", 0, "blocks[0].out_channels: 1025, expected 1 to 1024"),
    ("block: channels, kernel", "04 00", 0, "length: 62 bytes, expected 67: truncated"),
    ("block: channels, kernel", "00 00", 2, "blocks[0].kernel: 0, expected 1 to 3"),
    ("block: channels, kernel", "04 00", 2, "blocks[0].kernel: 4, expected 1 to 3"),
    ("head: classes, kernel", "00 00", 0, "head.out_channels: 0, expected 1 to 1024"),
    ("head: classes, kernel", "01 00", 0, "length: 62 bytes, expected 53: oversized"),
    ("head: classes, kernel", "01 00", 2, "head.kernel: 1, expected 2"),
    ("block: weights", "16", 1, "blocks[0].weights: the padding bits after bit 11 are not all zero"),
    ("block: thresholds", "fb ff ff ff", 0, "blocks[0].thresholds[0]: -5, expected -4 to 5"),
    ("block: thresholds", "06 00 00 00", 8, "blocks[0].thresholds[2]: 6, expected -4 to 5"),
    ("block: flipped", "0a", 0, "blocks[0].flipped: the padding bits after bit 2 are not all zero"),
    ("head: scale", "00 00 c0 7f", 0, "head.scale[0]: nan, expected a finite number"),
    ("head: scale", "00 00 80 ff", 4, "head.scale[1]: -inf, expected a finite number"),
    ("head: scale", "00 00 00 7f", 0, "head.scale[0]: 1.7014118346046923e+38"),  # 12 * 2**127 is too large
    ("head: offset", "00 00 80 7f", 0, "head.offset[0]: inf, expected a finite number"),
    ("head: offset", "00 00 c0 7f", 4, "head.offset[1]: nan, expected a finite number"),
]


@pytest.mark.parametrize(("field", "text", "offset", "message"), WRONG)
def test_a_wrong_field_is_named(field: str, text: str, offset: int, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        packed_format.decode(changed(field, text, offset))
    assert str(caught.value).startswith(f"packed model: {message}")


@pytest.mark.parametrize(("text", "threshold"), [("fc ff ff ff", -4), ("05 00 00 00", 5)])
def test_thresholds_at_both_ends_are_allowed(text: str, threshold: int) -> None:
    assert packed_format.decode(changed("block: thresholds", text)).blocks[0].thresholds[0] == threshold


def test_a_wrong_checksum_is_named() -> None:
    with pytest.raises(FormatError, match=r"checksum: 0x00000000, but the content gives 0x[0-9a-f]{8}: damaged"):
        packed_format.decode(CONTENT[:-4] + bytes(4))


def test_a_length_that_lies_is_refused() -> None:
    with pytest.raises(FormatError, match="length: 62 bytes, expected 4294967295: truncated"):
        packed_format.decode(sealed(CONTENT[:-4], 2**32 - 1))


def test_sizes_that_the_file_does_not_cover_allocate_nothing() -> None:
    layers = b"\x00\x04\x40\x00" * 4 + b"\x00\x04\x04\x00"  # 1024 channels, kernel 64: 2**32 weights a layer
    content = sealed(CONTENT[: AT["side"]] + b"\x00\x01" + b"\x80\x00" + b"\x04\x00" + layers)
    tracemalloc.start()
    with pytest.raises(FormatError, match="length: 40 bytes, expected "):
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
@given(st.integers(AT["side"], len(CONTENT) - 5), st.binary(max_size=8), st.binary(max_size=60) | st.none())
def test_sealed_bytes_are_refused_or_are_the_one_form_of_a_model(
    position: int, patch: bytes, payload: bytes | None
) -> None:
    body = (
        CONTENT[:position] + patch + CONTENT[position + len(patch) : -4] if payload is None else CONTENT[:10] + payload
    )
    content = sealed(body)
    try:
        model = packed_format.decode(content)
    except FormatError:
        return
    assert packed_format.encode(model) == content


def block(**changes: object) -> PackedModel:
    return dataclasses.replace(TINY, blocks=(dataclasses.replace(TINY.blocks[0], **changes),))  # type: ignore[arg-type]


def head(**changes: object) -> PackedModel:
    return dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, **changes))  # type: ignore[arg-type]


UNFIT: dict[str, Callable[[], PackedModel]] = {
    "side: 257, expected 1 to 256": lambda: dataclasses.replace(TINY, side=257),
    "input_threshold: -1, expected 0 to 256": lambda: dataclasses.replace(TINY, input_threshold=-1),
    "blocks: 17, expected 0 to 16": lambda: dataclasses.replace(TINY, blocks=TINY.blocks * 17),
    "blocks[0].in_channels: 2, expected 1": lambda: block(weights=np.zeros((3, 2, 2, 2), np.bool_)),
    "blocks[0].weights: shape (3, 1, 2, 3), expected a square": lambda: block(weights=np.zeros((3, 1, 2, 3), np.bool_)),
    "blocks[0].weights: uint8 (3, 1, 2, 2), expected bool": lambda: block(weights=np.zeros((3, 1, 2, 2), np.uint8)),
    "blocks[0].weights: bool (3, 1, 4), expected bool of 4": lambda: block(weights=np.zeros((3, 1, 4), np.bool_)),
    "blocks[0].thresholds: 2 numbers, expected 3": lambda: block(thresholds=np.zeros(2, np.int32)),
    "blocks[0].thresholds: int64 (3,), expected int32": lambda: block(thresholds=np.zeros(3, np.int64)),
    "blocks[0].thresholds[1]: 6, expected -4 to 5": lambda: block(thresholds=np.array([0, 6, 0], np.int32)),
    "blocks[0].flipped: 4 numbers, expected 3": lambda: block(flipped=np.zeros(4, np.bool_)),
    "head.in_channels: 2, expected 3": lambda: head(weights=np.zeros((2, 2, 2, 2), np.bool_)),
    "head.kernel: 1, expected 2": lambda: head(weights=np.zeros((2, 3, 1, 1), np.bool_)),
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


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 4, 3), (3, 3), (1, 1, 3, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"images: uint8 .*, expected uint8 \(number of images, 3, 3\)"):
        packed.check_images(TINY, np.zeros(shape, np.uint8))


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images: float64 \(2, 3, 3\)"):
        packed.check_images(TINY, np.zeros((2, 3, 3)))  # type: ignore[arg-type]
