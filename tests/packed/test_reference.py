"""The reference engine compared with examples worked out by hand and with loops in plain Python."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import networks

from bnnlib.packed import format as packed_format
from bnnlib.packed import reference
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

TINY = packed_format.decode((Path(__file__).parent / "golden/tiny_v2.bnn").read_bytes())


def test_the_worked_example() -> None:
    # step by step in docs/format.md
    images = np.array([[[0, 200, 191, 64], [63, 255, 0, 192], [70, 0, 129, 255], [10, 20, 30, 40]]], np.uint8)
    assert reference.dots(TINY, images).tolist() == [[1, -1]]
    assert reference.logits(TINY, images).tolist() == [[1.5, 0.25]]


def test_the_example_of_version_1() -> None:
    model = packed_format.decode((Path(__file__).parent / "golden/tiny_v1.bnn").read_bytes())
    images = np.array([[[0, 200, 128], [127, 255, 0], [50, 0, 129]]], np.uint8)
    assert reference.dots(model, images).tolist() == [[2, 2]]
    assert reference.logits(model, images).tolist() == [[2.0, -0.5]]


def one_class(side: int, input_threshold: int, block: Block) -> PackedModel:
    """One plane, one block whose output is one pixel of one channel, one class with a weight of +1."""
    head = Head(np.ones((1, 1, 1, 1), np.bool_), np.ones(1, np.float32), np.zeros(1, np.float32))
    return PackedModel(side, (input_threshold,), (block,), head)


# weight, threshold, flipped: output for a white and a black pixel
PIXEL = [
    (1, -1, 0, 1, 1),
    (1, 0, 0, 1, -1),
    (1, 1, 0, 1, -1),
    (1, 2, 0, -1, -1),
    (1, -1, 1, -1, -1),
    (1, 1, 1, -1, 1),
    (1, 2, 1, 1, 1),
    (0, -1, 0, 1, 1),
    (0, 1, 0, -1, 1),
    (0, 1, 1, 1, -1),
]


@pytest.mark.parametrize(("weight", "threshold", "flipped", "white", "black"), PIXEL)
def test_every_comparison_of_one_value(weight: int, threshold: int, flipped: int, white: int, black: int) -> None:
    block = Block(
        np.full((1, 1, 1, 1), weight, np.bool_), np.array([threshold], np.int32), np.array([flipped], np.bool_)
    )
    images = np.array([[[255]], [[0]]], np.uint8)
    assert reference.dots(one_class(1, 128, block), images).tolist() == [[white], [black]]


@pytest.mark.parametrize(("threshold", "dots"), [(0, [1, 1, 1]), (34, [-1, 1, 1]), (255, [-1, -1, 1]), (256, [-1] * 3)])
def test_the_input_is_plus_one_if_it_reaches_the_threshold(threshold: int, dots: list[int]) -> None:
    same = Block(np.ones((1, 1, 1, 1), np.bool_), np.array([1], np.int32), np.zeros(1, np.bool_))
    images = np.array([33, 34, 255], np.uint8)[:, None, None]
    assert reference.dots(one_class(1, threshold, same), images).ravel().tolist() == dots


# threshold, flipped: output for windows of four white pixels, of one, and of none
WINDOW = [
    (-1, 0, 1, 1, 1),
    (1, 0, 1, 1, -1),
    (2, 0, -1, -1, -1),
    (-1, 1, -1, -1, -1),
    (1, 1, -1, -1, 1),  # if reversed before the OR, three of the four comparisons of the mixed window would give +1
    (2, 1, 1, 1, 1),
]


@pytest.mark.parametrize(("threshold", "flipped", "white", "mixed", "black"), WINDOW)
def test_flipping_comes_after_the_or_of_a_window(
    threshold: int, flipped: int, white: int, mixed: int, black: int
) -> None:
    block = Block(np.ones((1, 1, 1, 1), np.bool_), np.array([threshold], np.int32), np.array([flipped], np.bool_), 2)
    images = np.array([[[255, 255], [255, 255]], [[0, 0], [255, 0]], [[0, 0], [0, 0]]], np.uint8)
    assert reference.dots(one_class(2, 128, block), images).ravel().tolist() == [white, mixed, black]


def test_pixels_that_do_not_fill_a_window_are_left_out() -> None:
    """One white pixel of 5 x 5, pooled by 3: a single window of the first three rows and columns."""
    images = np.eye(25, dtype=np.uint8).reshape(25, 5, 5) * 255
    same = Block(np.ones((1, 1, 1, 1), np.bool_), np.array([1], np.int32), np.zeros(1, np.bool_), 3)
    expected = [1 if y < 3 and x < 3 else -1 for y in range(5) for x in range(5)]
    assert reference.dots(one_class(5, 128, same), images).ravel().tolist() == expected


def test_plane_i_is_input_channel_i() -> None:
    """The head has weights of +1 for three planes, so the sum shows how many thresholds a pixel reaches."""
    head = Head(np.ones((1, 3, 1, 1), np.bool_), np.ones(1, np.float32), np.zeros(1, np.float32))
    images = np.array([0, 9, 10, 99, 100, 255], np.uint8)[:, None, None]
    model = PackedModel(1, (100, 10, 256), (), head)
    assert reference.dots(model, images).ravel().tolist() == [-3, -3, -1, -1, 1, 1]
    head.weights[0, 0] = False  # the plane of 100
    assert reference.dots(model, images).ravel().tolist() == [-1, -1, 1, 1, -1, -1]


def naive(model: PackedModel, image: NDArray[np.uint8]) -> list[int]:
    """The head's dot products by loops over single numbers."""
    maps = [
        [[1 if pixel >= threshold else -1 for pixel in row] for row in image.tolist()]
        for threshold in model.input_thresholds
    ]
    for block in model.blocks:
        sums = naive_pooling(naive_convolution(maps, block.weights.tolist()), block.pool)
        tests = zip(sums, block.thresholds.tolist(), block.flipped.tolist(), strict=True)
        maps = [[[1 if (dot >= t) != flipped else -1 for dot in row] for row in grid] for grid, t, flipped in tests]
    return [grid[0][0] for grid in naive_convolution(maps, model.head.weights.tolist())]


def naive_convolution(maps: list[list[list[int]]], weights: list[list[list[list[bool]]]]) -> list[list[list[int]]]:
    kernel = len(weights[0][0])
    places = range(len(maps[0]) - kernel + 1)
    return [
        [
            [
                sum(
                    maps[channel][y + i][x + j] * (1 if weight else -1)
                    for channel, grid in enumerate(kernels)
                    for i, row in enumerate(grid)
                    for j, weight in enumerate(row)
                )
                for x in places
            ]
            for y in places
        ]
        for kernels in weights
    ]


def naive_pooling(maps: list[list[list[int]]], pool: int) -> list[list[list[int]]]:
    starts = range(0, len(maps[0]) - pool + 1, pool)
    return [
        [[max(value for row in grid[y : y + pool] for value in row[x : x + pool]) for x in starts] for y in starts]
        for grid in maps
    ]


@pytest.mark.parametrize("name", networks.SIZES)
def test_the_same_as_loops_over_single_numbers(name: str) -> None:
    model, images = networks.draw(name)
    found = reference.dots(model, images[:2])
    assert (found.dtype, found.shape) == (np.int32, (2, len(model.head.weights)))
    assert found.tolist() == [naive(model, image) for image in images[:2]]


@settings(max_examples=60, deadline=None)
@given(networks.any_sizes(), st.integers(0, 2**32 - 1))
def test_any_topology_gives_the_same_as_loops_over_single_numbers(sizes: networks.Sizes, seed: int) -> None:
    model, images = networks.build(sizes, seed, images=2)
    assert reference.dots(model, images).tolist() == [naive(model, image) for image in images]


@pytest.mark.parametrize("channels", [910, 911, 1024])
def test_sums_on_both_sides_of_int16(channels: int) -> None:
    """Each of the head's 36 places adds a one for each channel: sums of 32,760, 32,796 and 36,864."""
    ones = np.ones((channels, 1, 1, 1), np.bool_)
    block = Block(ones, np.full(channels, -1, np.int32), np.zeros(channels, np.bool_))
    weights = np.stack([np.ones((channels, 6, 6), np.bool_), np.zeros((channels, 6, 6), np.bool_)])
    model = PackedModel(6, (128,), (block,), Head(weights, np.ones(2, np.float32), np.zeros(2, np.float32)))
    assert reference.dots(model, np.zeros((1, 6, 6), np.uint8)).tolist() == [[36 * channels, -36 * channels]]


@pytest.mark.parametrize("name", ["no block", "four blocks", "pooled"])
def test_the_size_of_the_chunks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = networks.draw(name)
    whole = reference.dots(model, images)
    for size in (1, 20_000):
        monkeypatch.setattr(reference, "CHUNK_BYTES", size)
        assert np.array_equal(reference.dots(model, images), whole)


def test_no_images_give_no_logits() -> None:
    found = reference.logits(TINY, np.empty((0, 4, 4), np.uint8))
    assert (found.dtype, found.shape) == (np.float32, (0, 2))


def test_product_and_sum_are_rounded_one_after_the_other() -> None:
    # 3 * float32(0.1) is 0.30000000447, which rounds to float32(0.3); a fused operation would leave -7.45e-9.
    head = Head(np.ones((1, 1, 1, 3), np.bool_), np.array([0.1], np.float32), np.array([-0.3], np.float32))
    logits = reference.affine(head, np.array([[3]], np.int32))
    assert logits.dtype == np.float32
    assert logits.tolist() == [[0.0]]


# Its largest map is the output of the first convolution, before pooling.
POOLED = networks.Sizes(28, 3, ((48, 3, 2), (16, 3, 2)), 10)


@pytest.mark.parametrize("model", [networks.baseline(), networks.build(POOLED, 0, 0)[0]], ids=["baseline", "pooled"])
def test_memory_does_not_grow_with_the_number_of_images(model: PackedModel) -> None:
    images = np.zeros((400, 28, 28), np.uint8)
    peaks = []
    for count in (200, 400):
        tracemalloc.start()
        reference.dots(model, images[:count])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 2 * reference.CHUNK_BYTES
    assert peaks[1] < peaks[0] + 50_000  # the dot products of 200 more images: 10 of 4 bytes each


def test_other_images_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images: uint8 \(2, 28, 28\), expected uint8 \(number of images, 4, 4\)"):
        reference.logits(TINY, np.zeros((2, 28, 28), np.uint8))
