"""Exactly so many different bits are flipped, and each can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bnnlib.robustness import bits

# Each type that a network is stored in; the bits are 6, 16, 48, 32 and 128.
ARRAYS: dict[str, NDArray[Any]] = {
    "signs": np.array([[True, False, True], [False, False, True]]),
    "codes": np.array([0, 255], np.uint8),
    "halves": np.array([[1.5], [-0.0], [np.nan]], np.float16),
    "threshold": np.array([-7], np.int32),
    "floats": np.arange(8, dtype=np.float32).reshape(2, 2, 2)[:, :, ::2],
}
BITS = 6 + 16 + 48 + 32 + 128


def as_integers(arrays: bits.Arrays) -> list[int]:
    """All bytes, those of truth values too."""
    return [byte for array in arrays.values() for byte in np.ascontiguousarray(array).tobytes()]


def differences(a: bits.Arrays, b: bits.Arrays) -> int:
    """Number of bits in which two sets of arrays differ, counted byte by byte."""
    return sum((x ^ y).bit_count() for x, y in zip(as_integers(a), as_integers(b), strict=True))


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_bit_counts_once() -> None:
    assert bits.count(ARRAYS) == BITS


@pytest.mark.parametrize("number", [0, 1, 2, 17, BITS - 1, BITS])
def test_exactly_so_many_bits_differ_and_types_and_shapes_stay(number: int) -> None:
    before = as_integers(ARRAYS)
    found = bits.flipped(ARRAYS, number, random())
    assert differences(found, ARRAYS) == number
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in ARRAYS.items()
    }
    assert as_integers(ARRAYS) == before  # they are not changed


@pytest.mark.parametrize("number", [1, 40])
def test_flipped_twice_the_network_is_back(number: int) -> None:
    once = bits.flipped(ARRAYS, number, random(3))
    assert as_integers(bits.flipped(once, number, random(3))) == as_integers(ARRAYS)


def test_any_bit_can_be_flipped() -> None:
    """Each bit about as often: 20 of 2,300 draws of 1 of 230 bits hit it, give or take 5 standard deviations."""
    zeros = {name: np.zeros_like(array) for name, array in ARRAYS.items()}
    draws, hits = 20 * BITS, np.zeros(BITS, np.int64)
    generator = random()
    for _ in range(draws):
        found = bits.flipped(zeros, 1, generator)
        parts = [np.unpackbits(array.ravel().view(np.uint8), bitorder="little") for array in found.values()]
        parts[0] = parts[0][::8]  # a truth value has one bit
        hits += np.concatenate(parts)
    assert hits.sum() == draws
    assert hits.min() > 0
    assert hits.max() < 20 + 5 * 20**0.5
