"""Arrays as the bits that a file stores of them, and the same arrays with some of these flipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def count(arrays: Arrays) -> int:
    """How many bits the arrays have: one for each truth value, eight for each byte of a number."""
    return sum(array.size if array.dtype == np.bool_ else 8 * array.nbytes for array in arrays.values())


def flipped(arrays: Arrays, number: int, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Copies of the arrays in which exactly ``number`` different bits are flipped, any bit as likely as another.

    The same generator on arrays of the same sizes flips the same bits: doing it twice gives the arrays back.
    """
    parts = [_bits(array) for array in arrays.values()]
    bits = np.concatenate(parts)
    bits[random.choice(len(bits), number, replace=False)] ^= True
    changed = np.split(bits, np.cumsum([len(part) for part in parts])[:-1])
    return {name: _like(array, part) for (name, array), part in zip(arrays.items(), changed, strict=True)}


def _bits(array: NDArray[Any]) -> NDArray[np.bool_]:
    """All bits of an array, (bits,); of a byte the lowest first."""
    if array.dtype == np.bool_:
        return array.ravel()
    return np.unpackbits(array.ravel().view(np.uint8), bitorder="little").view(np.bool_)


def _like(array: NDArray[Any], bits: NDArray[np.bool_]) -> NDArray[Any]:
    """An array of the type and shape of another one from its bits."""
    content = bits if array.dtype == np.bool_ else np.packbits(bits, bitorder="little").view(array.dtype)
    return content.reshape(array.shape)
