"""The compiled Fourier transform against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from bnnlib import compiled
from bnnlib.compiled import COUNTS, FREQUENCIES, LANES, SIDE


def spectrum_of(maps: np.ndarray) -> np.ndarray:
    """Complex (frequencies, n, channels)."""
    n, groups = maps.shape[0], maps.shape[3]
    out = np.full((len(FREQUENCIES), n, 2, groups, LANES), np.nan, np.float32)
    compiled.map_to_spectrum(0, n, maps, out)
    return (out[:, :, 0] + 1j * out[:, :, 1]).reshape(len(FREQUENCIES), n, -1)


@pytest.mark.parametrize("size", [1, 4, 12, 20])
def test_spectrum_is_numpys_at_the_frequencies_named(size: int) -> None:
    maps = np.random.default_rng(size).normal(size=(3, size, size, 2, LANES)).astype(np.float32)
    expected = np.fft.fft2(maps.astype(np.float64), (SIDE, SIDE), axes=(1, 2)).reshape(3, SIDE, SIDE, -1)
    expected = np.stack([expected[:, u, v] for u, v in FREQUENCIES])
    np.testing.assert_allclose(spectrum_of(maps), expected, rtol=0, atol=1e-5 * SIDE)


def test_the_frequencies_determine_every_map() -> None:
    known = {(u % SIDE, v % SIDE) for u, v in FREQUENCIES} | {(-u % SIDE, -v % SIDE) for u, v in FREQUENCIES}
    assert len(known) == SIDE**2 == sum(COUNTS)


@pytest.mark.parametrize("size", [1, 12, 20])
def test_there_and_back(size: int) -> None:
    maps = np.random.default_rng(1).normal(size=(2, SIDE, SIDE, 1, LANES)).astype(np.float32)
    spectrum = np.empty((len(FREQUENCIES), 2, 2, 1, LANES), np.float32)
    compiled.map_to_spectrum(0, 2, maps, spectrum)
    spectrum *= (np.array(COUNTS, np.float32) / SIDE**2)[:, None, None, None, None]
    back = np.empty((2, size, size, 1, LANES), np.float32)
    compiled.spectrum_to_map(0, 2, spectrum, back)
    np.testing.assert_allclose(back, maps[:, :size, :size], rtol=0, atol=1e-6)


def test_a_kernel_leaves_the_other_images_alone() -> None:
    maps = np.ones((3, SIDE, SIDE, 1, LANES), np.float32)
    out = np.zeros((len(FREQUENCIES), 3, 2, 1, LANES), np.float32)
    compiled.map_to_spectrum(1, 2, maps, out)
    assert out[:, 1].any()
    assert not out[:, [0, 2]].any()


@pytest.mark.parametrize("value", [-1, 1])
def test_the_largest_sums_of_a_map_fit(value: int) -> None:
    dots = np.full((2, 20, 20, LANES), value * 2592, np.int16)  # the widest map with the longest dot products
    sums = np.empty((2, 2, LANES), np.int64)
    compiled.sum_dots(0, 2, dots, sums)
    assert (sums[:, 0] == 400 * value * 2592).all()
    assert (sums[:, 1] == 400 * 2592**2).all()


def test_rows_are_packed_from_the_threshold_on_the_leftmost_pixel_lowest() -> None:
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 3, [0, 5, 27]] = [34, 33, 255]
    rows = np.full((1, 28), 7, np.uint32)
    compiled.pack_rows(0, 1, images, 34, rows)
    assert rows[0, 3] == 1 | 1 << 27
    assert not rows[0, np.arange(28) != 3].any()


def test_bits_of_channels_that_are_not_there_stay_clear() -> None:
    dots = np.zeros((1, 1, 1, LANES), np.int16)
    words = np.empty((1, 1, 1), np.uint32)
    compiled.sign_words(0, 1, dots, np.zeros((2, 5), np.float32), words)
    assert words.item() == 0b11111
