"""The reference engine against examples worked by hand and against loops in plain Python."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import networks
import numpy as np
import pytest
from numpy.typing import NDArray

from bnnlib.packed import format as packed_format
from bnnlib.packed import reference
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

TINY = packed_format.decode((Path(__file__).parent / "golden/tiny_v1.bnn").read_bytes())


def test_the_worked_example() -> None:
    # docs/format.md goes through it step by step
    images = np.array([[[0, 200, 128], [127, 255, 0], [50, 0, 129]]], np.uint8)
    assert reference.dots(TINY, images).tolist() == [[2, 2]]
    assert reference.logits(TINY, images).tolist() == [[2.0, -0.5]]


def one_pixel(input_threshold: int, block: Block) -> PackedModel:
    """One pixel, one binarized layer of one weight, one class."""
    weights = np.ones((1, 1, 1, 1), np.bool_)
    return PackedModel(1, input_threshold, (block,), Head(weights, np.ones(1, np.float32), np.zeros(1, np.float32)))


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
    assert reference.dots(one_pixel(128, block), images).tolist() == [[white], [black]]


@pytest.mark.parametrize(("threshold", "dots"), [(0, [1, 1, 1]), (34, [-1, 1, 1]), (255, [-1, -1, 1]), (256, [-1] * 3)])
def test_the_input_is_plus_one_from_the_threshold_on(threshold: int, dots: list[int]) -> None:
    same = Block(np.ones((1, 1, 1, 1), np.bool_), np.array([1], np.int32), np.zeros(1, np.bool_))
    images = np.array([33, 34, 255], np.uint8)[:, None, None]
    assert reference.dots(one_pixel(threshold, same), images).ravel().tolist() == dots


def naive(model: PackedModel, image: NDArray[np.uint8]) -> list[int]:
    """The head's dot products by loops over single numbers."""
    maps = [[[1 if pixel >= model.input_threshold else -1 for pixel in row] for row in image.tolist()]]
    for block in model.blocks:
        sums = naive_convolution(maps, block.weights.tolist())
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


@pytest.mark.parametrize("name", networks.SHAPES)
def test_the_same_as_loops_over_single_numbers(name: str) -> None:
    model, images = networks.draw(name)
    found = reference.dots(model, images[:2])
    assert (found.dtype, found.shape) == (np.int32, (2, len(model.head.weights)))
    assert found.tolist() == [naive(model, image) for image in images[:2]]


@pytest.mark.parametrize("channels", [910, 911, 1024])
def test_sums_on_both_sides_of_int16(channels: int) -> None:
    """Each of the head's 36 places adds as many ones as there are channels: 32,760, 32,796 and 36,864 in all."""
    ones = np.ones((channels, 1, 1, 1), np.bool_)
    block = Block(ones, np.full(channels, -1, np.int32), np.zeros(channels, np.bool_))
    weights = np.stack([np.ones((channels, 6, 6), np.bool_), np.zeros((channels, 6, 6), np.bool_)])
    model = PackedModel(6, 128, (block,), Head(weights, np.ones(2, np.float32), np.zeros(2, np.float32)))
    assert reference.dots(model, np.zeros((1, 6, 6), np.uint8)).tolist() == [[36 * channels, -36 * channels]]


@pytest.mark.parametrize("name", ["no block", "four blocks"])
def test_the_size_of_the_chunks_has_no_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = networks.draw(name)
    whole = reference.dots(model, images)
    for size in (1, 20_000):
        monkeypatch.setattr(reference, "CHUNK_BYTES", size)
        assert np.array_equal(reference.dots(model, images), whole)


def test_no_images_give_no_logits() -> None:
    found = reference.logits(TINY, np.empty((0, 3, 3), np.uint8))
    assert (found.dtype, found.shape) == (np.float32, (0, 2))


def test_product_and_sum_are_rounded_one_after_the_other() -> None:
    # 3 * float32(0.1) is 0.30000000447, which rounds to float32(0.3); a fused operation would leave -7.45e-9.
    head = Head(np.ones((1, 1, 1, 3), np.bool_), np.array([0.1], np.float32), np.array([-0.3], np.float32))
    logits = reference.affine(head, np.array([[3]], np.int32))
    assert logits.dtype == np.float32
    assert logits.tolist() == [[0.0]]


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    model = networks.committed()
    images = np.zeros((400, 28, 28), np.uint8)
    peaks = []
    for count in (200, 400):
        tracemalloc.start()
        reference.dots(model, images[:count])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 2 * reference.CHUNK_BYTES
    assert peaks[1] < peaks[0] + 50_000  # the dot products: 10 of 4 bytes for each of 200 images


def test_other_images_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images: uint8 \(2, 28, 28\), expected uint8 \(number of images, 3, 3\)"):
        reference.logits(TINY, np.zeros((2, 28, 28), np.uint8))
