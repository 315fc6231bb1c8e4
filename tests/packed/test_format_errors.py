"""The packed file: every way in which its bytes can be wrong, and the field that the message names."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packed_files import AT, AT_1, CONTENT, CONTENT_1, assert_equal, changed, changed_1, sealed

from bnnlib.packed import format as packed_format
from bnnlib.packed.format import FormatError


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
        if length > AT["side"] + 4:  # sealed with its true length
            with pytest.raises(FormatError, match=r"length|blocks"):
                packed_format.decode(sealed(CONTENT[: length - 4]))


def test_every_truncation_of_version_1_is_refused() -> None:
    for length in range(AT_1["side"] + 4, len(CONTENT_1)):
        with pytest.raises(FormatError, match=r"length|blocks"):
            packed_format.decode(sealed(CONTENT_1[: length - 4]))


@pytest.mark.parametrize(("content", "smallest"), [(CONTENT, 28), (CONTENT_1, 24)])
def test_a_file_shorter_than_any_model_is_refused(content: bytes, smallest: int) -> None:
    message = f"length: {smallest - 1} bytes, but the smallest model takes {smallest}"
    with pytest.raises(FormatError, match=message):
        packed_format.decode(content[: smallest - 1])
    with pytest.raises(FormatError, match=message):
        packed_format.decode(sealed(content[: smallest - 5]))


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4, CONTENT])
@pytest.mark.parametrize("content", [CONTENT, CONTENT_1])
def test_bytes_after_the_end_are_refused(content: bytes, tail: bytes) -> None:
    length = len(content)
    with pytest.raises(FormatError, match=rf"length: {length + len(tail)} bytes, expected {length}: oversized"):
        packed_format.decode(content + tail)
    with pytest.raises(FormatError, match=rf"length: {length + len(tail)} bytes, expected {length}: oversized"):
        packed_format.decode(sealed(content[:-4] + tail))


def test_another_version_is_named_before_any_field_that_it_may_have_changed() -> None:
    newer = CONTENT[:4] + b"\x04\x00" + b"\xff" * 90
    with pytest.raises(FormatError, match="version: 4, expected 1 to 3"):
        packed_format.decode(newer)
    with pytest.raises(FormatError, match="version: 4, expected 1 to 3"):
        packed_format.decode(newer[:6])


# Field, its new bytes, their offset in the field, and the start of the message.
WRONG = [
    ("magic", "89 42 4e 4d", 0, r"magic: b'\x89BNM', expected b'\x89BNN'"),
    ("version", "00 00", 0, "version: 0, expected 1 to 3"),
    ("version", "02 01", 0, "version: 258, expected 1 to 3"),
    ("version", "01 00", 0, "blocks[0].kernel: 192, expected 1 to 4"),  # in version 1 the layers begin 4 bytes earlier
    ("side", "00 00", 0, "side: 0, expected 1 to 256"),
    ("side", "01 01", 0, "side: 257, expected 1 to 256"),
    ("side", "05 00", 0, "head.kernel: 1, expected 2: the head covers its whole input of 2 x 2"),
    ("side", "02 00", 0, "blocks[0].pool: 2, expected 1"),
    ("input planes", "00 00", 0, "input planes: 0, expected 1 to 64"),
    ("input planes", "41 00", 0, "input planes: 65, expected 1 to 64"),
    ("input planes", "40 00", 0, "blocks: 1 and input planes: 64: 69 bytes are too few"),
    ("input thresholds", "01 01", 0, "input_thresholds[0]: 257, expected 0 to 256"),
    ("input thresholds", "ff ff", 2, "input_thresholds[1]: 65535, expected 0 to 256"),
    ("blocks", "00 00", 0, "head.pool: 2, expected 1"),
    ("blocks", "11 00", 0, "blocks: 17, expected 0 to 16"),
    ("blocks", "10 00", 0, "blocks: 16 and input planes: 2: 69 bytes are too few"),
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
# The same for version 1, where it differs.
WRONG_1 = [
    ("version", "02 00", 0, "input planes: 128, expected 1 to 64"),
    ("side", "04 00", 0, "head.kernel: 2, expected 3: the head covers its whole input of 3 x 3"),
    ("input threshold", "01 01", 0, "input_thresholds[0]: 257, expected 0 to 256"),
    ("blocks", "10 00", 0, "blocks: 16 and input planes: 1: 62 bytes are too few"),
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


# If several fields are wrong, the message names the first.
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


def test_a_wrong_length_field_is_named() -> None:
    with pytest.raises(FormatError, match="length: 69 bytes, expected 4294967295: truncated"):
        packed_format.decode(sealed(CONTENT[:-4], 2**32 - 1))


def test_sizes_larger_than_the_file_allocate_nothing() -> None:
    # 1024 channels, kernel 64: 2**32 weights in each layer; the map shrinks from 256 to 4 pixels a side
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
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        packed_format.decode(content)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([CONTENT, CONTENT_1]),
    st.integers(AT["side"], len(CONTENT) - 5),
    st.binary(max_size=8),
    st.binary(max_size=60) | st.none(),
)
def test_bytes_with_a_valid_checksum_are_refused_or_are_a_model(
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
        assert written == content  # a model has only one form
    assert_equal(packed_format.decode(written), model)
