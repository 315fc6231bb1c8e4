"""The compiled matrix products against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bnnlib import compiled, products
from bnnlib.products import COLUMNS

RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def close(found: NDArray[np.float32], expected: NDArray[np.float64], terms: int) -> bool:
    """Whether the difference is what rounding explains: of sums of so many products, each step rounded once.

    The operands are random, so partial sums of L terms grow like a random walk and so do their rounding errors: about
    sqrt(L) * 2**-24 of the result's size. The largest of 10**5 normal errors is 5 times their size.
    """
    return bool(np.abs(found - expected).max() <= 5 * np.sqrt(terms) * 2**-24 * np.sqrt((expected**2).mean()))


@pytest.mark.parametrize("columns", [COLUMNS, 2 * COLUMNS])
@pytest.mark.parametrize("terms", [1, 7, 64])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 25])  # below, at and above a tile
def test_products(rows: int, terms: int, columns: int) -> None:
    a, b = normal(3, rows, terms), normal(3, terms, columns)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    for multiply, left in ((products.multiply, a), (products.multiply_transposed, a.transpose(0, 2, 1).copy())):
        found = np.full((3, rows, columns), np.nan, np.float32)
        multiply(left, b, found)
        assert close(found, expected, terms)


def test_the_sizes_are_those_of_the_other_kernels() -> None:
    assert (products.LANES, products.KERNEL) == (compiled.LANES, compiled.KERNEL)


def test_transpose_leaves_the_other_matrices_alone() -> None:
    a, out = normal(3, 4, 5), np.zeros((3, 5, 4), np.float32)
    products.transpose(1, 2, a, out)
    assert np.array_equal(out[1], a[1].T)
    assert not out[[0, 2]].any()


def test_the_first_block_forward() -> None:
    images, weights = normal(3, 28, 28), normal(9, 9, COLUMNS)
    found = np.full((3, 20, 20, COLUMNS), np.nan, np.float32)
    products.convolve_images(images, weights, found)
    kernels = torch.from_numpy(weights).double().permute(2, 0, 1)[:, None]
    expected = functional.conv2d(torch.from_numpy(images).double()[:, None], kernels).permute(0, 2, 3, 1)
    assert close(found, expected.numpy(), terms=81)


def test_the_first_blocks_weights() -> None:
    images, g, y, slope = normal(3, 28, 28), normal(3, 20, 20, COLUMNS), normal(3, 20, 20, COLUMNS), normal(3, COLUMNS)
    found = np.full((9, 9, COLUMNS), np.nan, np.float32)
    products.first_weights(images, g, y, slope, found)
    gradient = slope[0].astype(np.float64) * g + slope[1] * y + slope[2]
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (20, 20), axis=(1, 2))
    expected = np.einsum("nabyx,nyxc->abc", windows, gradient)
    assert close(found, expected, terms=3 * 400 + 9)  # the gradient itself is rounded three times
