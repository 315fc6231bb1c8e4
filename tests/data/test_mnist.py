"""The IDX parser against malformed files, and the split."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnlib.data import idx, mnist, splits
from bnnlib.data.idx import IdxError
from bnnlib.data.splits import Split, SplitError

IMAGES, LABELS = mnist.PARTS["test"]


def idx_bytes(shape: tuple[int, ...], values: bytes, kind: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values


def images_of(count: int) -> bytes:
    return idx_bytes((count, 28, 28), bytes(i % 251 for i in range(784 * count)))


def test_reads_images_and_labels() -> None:
    split = idx.decode(images_of(3), idx_bytes((3,), bytes([9, 0, 4])), "test")
    assert split.images.shape == (3, 28, 28)
    assert split.images.dtype == split.labels.dtype == np.uint8
    assert split.images.ravel().tolist() == [i % 251 for i in range(784 * 3)]
    assert split.labels.tolist() == [9, 0, 4]


# bytes, and the message after the file's name
BAD_LABELS = {
    "empty": (b"", "header: 0 bytes, but an IDX header of 1 dimensions takes 8"),
    "short header": (idx_bytes((3,), b"")[:7], "header: 7 bytes, but an IDX header of 1 dimensions takes 8"),
    "images": (images_of(1), "magic: 0x00000803, expected 0x00000801 (unsigned bytes, 1 dimensions)"),
    "floats": (
        idx_bytes((1,), b"\0", kind=0x0D),
        "magic: 0x00000d01, expected 0x00000801 (unsigned bytes, 1 dimensions)",
    ),
    "gzip": (b"\x1f\x8b\x08\x08" + bytes(20), "magic: 0x1f8b0808, expected 0x00000801"),
    "truncated": (idx_bytes((3,), b"\1\2"), "sizes: 3 means 3 values, but 2 bytes follow the header"),
    "trailing byte": (idx_bytes((3,), b"\1\2\3\4"), "sizes: 3 means 3 values, but 4 bytes follow the header"),
    "no labels": (idx_bytes((3,), b""), "sizes: 3 means 3 values, but 0 bytes follow the header"),
    "label over 9": (idx_bytes((3,), bytes([9, 10, 255])), "labels: 10 at index 1, expected 0 to 9"),
}
BAD_IMAGES = {
    "short header": (images_of(1)[:15], "header: 15 bytes, but an IDX header of 3 dimensions takes 16"),
    "labels": (idx_bytes((20,), bytes(20)), "magic: 0x00000801, expected 0x00000803"),
    "truncated": (images_of(2)[:-1], "sizes: 2 x 28 x 28 means 1568 values, but 1567 bytes follow the header"),
    "trailing byte": (images_of(2) + b"\0", "sizes: 2 x 28 x 28 means 1568 values, but 1569 bytes follow the header"),
    "other sides": (idx_bytes((1, 28, 27), bytes(756)), "sizes: images of 28 x 27 pixels, expected 28 x 28"),
    "swapped sizes": (idx_bytes((28, 1, 28), bytes(784)), "sizes: images of 1 x 28 pixels, expected 28 x 28"),
    "huge": (
        idx_bytes((2**32 - 1,) * 3, b""),
        "sizes: 4294967295 x 4294967295 x 4294967295 means 79228162458924105385300197375",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_named(data: bytes, message: str) -> None:
    with pytest.raises(IdxError) as caught:
        idx.decode(images_of(3), data, "test")
    assert str(caught.value).startswith(f"{LABELS}: {message}")


@pytest.mark.parametrize(("data", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_are_named(data: bytes, message: str) -> None:
    with pytest.raises(IdxError) as caught:
        idx.decode(data, idx_bytes((1,), b"\0"), "test")
    assert str(caught.value).startswith(f"{IMAGES}: {message}")


def test_different_counts_name_both_files() -> None:
    with pytest.raises(IdxError) as caught:
        idx.decode(images_of(2), idx_bytes((3,), bytes(3)), "test")
    assert str(caught.value) == f"{IMAGES}, {LABELS}: sizes: 2 images but 3 labels"


# Headers that are nearly right reach every check, which random bytes do not.
SIZES = st.integers(0, 4)
NEARLY = st.builds(
    lambda shape, values, kind: idx_bytes(tuple(shape), values, kind),
    st.lists(SIZES, max_size=4),
    st.binary(max_size=8),
    st.sampled_from([0x08, 0x0D]),
)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=40) | NEARLY, dimensions=st.integers(1, 3))
def test_any_bytes_parse_or_raise_idx_error(data: bytes, dimensions: int) -> None:
    try:
        parsed = idx.parse_idx(data, "fuzz", dimensions)
    except IdxError:
        return
    assert data == idx_bytes(parsed.shape, parsed.tobytes())  # nothing is missing, nothing added


@settings(max_examples=100, deadline=None)
@given(shape=st.lists(SIZES, min_size=1, max_size=3), data=st.data())
def test_every_well_formed_file_parses(shape: list[int], data: st.DataObject) -> None:
    size = int(np.prod(shape))
    values = data.draw(st.binary(min_size=size, max_size=size))
    parsed = idx.parse_idx(idx_bytes(tuple(shape), values), "fuzz", len(shape))
    assert (list(parsed.shape), parsed.tobytes()) == (shape, values)


def unequal_labels(count: int) -> np.ndarray:
    """The shares of MNIST's classes: none is exactly a tenth."""
    shares = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 60_000
    labels = np.repeat(np.arange(10), np.round(shares * count).astype(int)).astype(np.uint8)
    assert len(labels) == count
    return np.random.default_rng(3).permutation(labels)


def numbered(labels: np.ndarray) -> Split:
    """Each image is its own number in two bytes, so that the split can be followed."""
    return Split(np.arange(len(labels), dtype="<u2").view(np.uint8).reshape(-1, 1, 2), labels)


def numbers(split: Split) -> list[int]:
    return split.images.reshape(-1).copy().view("<u2").tolist()


def test_split_of_60000_is_48000_and_12000_stratified_disjoint_complete_and_in_order() -> None:
    labels = unequal_labels(60_000)
    train, validation = splits.split(numbered(labels), 0.2, seed=0)
    assert (len(train.labels), len(validation.labels)) == (48_000, 12_000)
    for part, fraction in ((train, 0.8), (validation, 0.2)):
        rows = numbers(part)
        assert rows == sorted(set(rows))
        assert np.array_equal(part.labels, labels[rows])
        assert np.abs(np.bincount(part.labels) - fraction * np.bincount(labels)).max() < 1
    assert set(numbers(train)) | set(numbers(validation)) == set(range(60_000))
    # 48,000 + 12,000 = 60,000: the parts are disjoint because their union is complete.


def test_split_is_seeded() -> None:
    data = numbered(unequal_labels(60_000)[:2_000])
    first, again, other = (numbers(splits.split(data, 0.2, seed)[1]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "labels", [[0] * 10 + [1], [0, 1, 2, 3] * 2], ids=["a class of one image", "more classes than validation images"]
)
def test_too_few_images_for_a_split_say_so(labels: list[int]) -> None:
    with pytest.raises(SplitError, match=rf"^{len(labels)} images cannot be split .* Raise data.limit"):
        splits.split(numbered(np.array(labels, np.uint8)), 0.2, seed=0)


def test_limited_takes_the_first_or_all() -> None:
    data = numbered(unequal_labels(60_000)[:20])
    assert numbers(splits.limited(data, 7)) == list(range(7))
    assert splits.limited(data, 7).labels.tolist() == data.labels[:7].tolist()
    assert numbers(splits.limited(data, None)) == list(range(20))
