"""The fast engine gives the same numbers as the reference, whatever the shape, the threads and the images' layout."""

from __future__ import annotations

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray
from support import networks
from support.engines import all_different, check
from support.networks import Sizes

from bnnlib.core.errors import BnnError
from bnnlib.data import splits
from bnnlib.packed import fast, kernels
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

MODEL = networks.committed()
# On both sides of 16 and 32 lanes, and of one and two words of 32 bits.
CHANNELS = [1, 2, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 100]


def showing(block: Block, side: int) -> PackedModel:
    """A network of one block for images of side x side pixels, with one class for each bit of the block's output."""
    channels, left = len(block.weights), (side - block.weights.shape[2] + 1) // block.pool
    bits = channels * left**2
    weights = np.eye(bits, dtype=np.bool_).reshape(bits, channels, left, left)
    return PackedModel(side, (128,), (block,), Head(weights, np.ones(bits, np.float32), np.zeros(bits, np.float32)))


@settings(max_examples=150, deadline=None)
@given(networks.any_sizes(CHANNELS, largest_side=16, largest_kernel=16), st.integers(0, 2**32))
# Rows of the first kernel of 31, 32, 33 and 64 bits, then of 32 bits on two planes; then no block, and one pixel.
@example(Sizes(40, 1, [(5, 31, 1), (3, 10, 1)], 2), 0)
@example(Sizes(40, 1, [(5, 32, 1), (3, 9, 1)], 2), 0)
@example(Sizes(40, 1, [(5, 33, 2), (3, 4, 1)], 2), 0)
@example(Sizes(66, 1, [(3, 64, 1), (2, 3, 1)], 2), 0)
@example(Sizes(20, 2, [(3, 16, 1), (2, 3, 1)], 2), 0)
@example(Sizes(35, 1, [], 3), 0)
@example(Sizes(1, 1, [], 1), 0)
# As many planes as bits in a word, one more, and the most that are allowed.
@example(Sizes(4, 32, [(3, 2, 1)], 2), 0)
@example(Sizes(4, 33, [(3, 2, 1)], 2), 0)
@example(Sizes(3, 64, [], 2), 0)
# 30, 31, 32, 64 and 63 words in a window, because 31 are counted at a time; 1024 channels are the most allowed.
@example(Sizes(6, 1, [(930, 1, 1), (5, 1, 1)], 2), 0)
@example(Sizes(6, 1, [(992, 1, 1), (5, 1, 2)], 2), 0)
@example(Sizes(6, 1, [(1024, 1, 1), (5, 1, 1)], 2), 0)
@example(Sizes(3, 1, [(481, 1, 1), (5, 2, 1)], 2), 0)
@example(Sizes(8, 1, [(224, 1, 1), (5, 3, 3)], 2), 0)
@example(Sizes(5, 1, [(40, 1, 1)], 1024), 0)
def test_random_networks(sizes: Sizes, seed: int) -> None:
    check(*networks.build(sizes, seed, images=5))


@pytest.mark.parametrize("name", networks.SIZES)
def test_networks_of_chosen_sizes(name: str) -> None:
    check(*networks.draw(name))


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 496, 1000])
def test_the_largest_counts(channels: int) -> None:
    model, images = all_different(12, channels, 6)
    assert fast.Engine(model).dots(images).tolist() == [[-36 * channels] * 3] * 2


def test_all_inputs_and_thresholds() -> None:
    images = np.arange(256, dtype=np.uint8)[:, None, None]
    for threshold in (0, 1, 127, 128, 255, 256):
        head = Head(np.ones((1, 1, 1, 1), np.bool_), np.ones(1, np.float32), np.zeros(1, np.float32))
        found = fast.Engine(PackedModel(1, (threshold,), (), head)).dots(images)
        assert found.ravel().tolist() == [1 if pixel >= threshold else -1 for pixel in range(256)]


def test_each_plane_has_its_own_threshold() -> None:
    images = np.arange(256, dtype=np.uint8)[:, None, None]
    thresholds = (200, 1, 256, 77)  # in any order
    weights = np.eye(4, dtype=np.bool_)[:, :, None, None]
    head = Head(weights, np.ones(4, np.float32), np.zeros(4, np.float32))
    found = fast.Engine(PackedModel(1, thresholds, (), head)).dots(images)
    values = np.where(images[:, 0] >= np.array(thresholds), 1, -1)  # (256, planes)
    assert found.tolist() == (values @ np.where(weights[:, :, 0, 0].T, 1, -1)).tolist()


def test_every_threshold_of_one_dot_product() -> None:
    # All sixteen images of 2 x 2: dots of -4, -2, 0, 2, 4 and thresholds from -4 to 5, not flipped and flipped.
    bits = np.unpackbits(np.arange(16, dtype=np.uint8)[:, None], axis=1)[:, 4:]
    images = (bits * 255).astype(np.uint8).reshape(16, 2, 2)
    thresholds = np.tile(np.arange(-4, 6, dtype=np.int32), 2)
    check(showing(Block(np.ones((20, 1, 2, 2), np.bool_), thresholds, np.arange(20) >= 10), 2), images)


@pytest.mark.parametrize(("pool", "channels"), [(1, 8), (2, 40), (3, 40), (4, 40), (5, 40), (11, 40)])
def test_every_place_of_every_pooling_window(pool: int, channels: int) -> None:
    # One bright pixel at a time sets the bit of its window and no other; flipped channels are reversed after pooling.
    images = (np.eye(11**2, dtype=np.uint8) * 255).reshape(-1, 11, 11)
    flipped = np.arange(channels) % 3 == 0
    block = Block(np.ones((channels, 1, 1, 1), np.bool_), np.ones(channels, np.int32), flipped, pool)
    model = showing(block, 11)
    left = 11 // pool
    windows = images[:, : left * pool, : left * pool].reshape(-1, left, pool, left, pool).any(axis=(2, 4))
    bits = (windows[:, None] != flipped[:, None, None]).reshape(len(images), -1)
    signs, weights = np.where(bits, 1, -1), np.where(model.head.weights.reshape(bits.shape[1], -1), 1, -1)
    assert fast.Engine(model).dots(images).tolist() == (signs @ weights.T).tolist()


def test_trained_networks_on_real_images(parts: dict[str, splits.Split]) -> None:
    for model in (MODEL, networks.baseline()):
        check(model, parts["test"].images[:600])


def test_any_number_of_threads_gives_the_same(parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:2500]
    one = fast.Engine(MODEL).dots(images)
    for threads in (2, 3, 8):
        engine = fast.Engine(MODEL, threads)
        assert np.array_equal(engine.dots(images), one)
        for count in (0, 1, 63, 64, 65, 129, 1025):
            assert np.array_equal(engine.dots(images[:count]), one[:count])


@pytest.mark.parametrize(
    ("images", "threads", "size"), [(0, 2, 64), (1000, 1, 1000), (140, 2, 70), (1000, 2, 250), (1100, 2, 184)]
)
def test_slice_size(images: int, threads: int, size: int) -> None:
    assert fast._slice_size(images, threads) == size


def test_calls_at_the_same_time_give_the_same(parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:400]
    engine = fast.Engine(MODEL, threads=2)
    expected = engine.logits(images).tobytes()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: engine.logits(images).tobytes(), range(40)))
    assert found == [expected] * 40


def test_no_images_give_no_logits() -> None:
    for threads in (1, 2):
        found = fast.Engine(MODEL, threads).logits(np.empty((0, 28, 28), np.uint8))
        assert (found.dtype, found.shape) == (np.float32, (0, 10))


def test_images_of_any_layout_are_read_and_not_changed() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    engine = fast.Engine(MODEL)
    expected = engine.dots(images)
    strided = np.zeros((12, 28, 56), np.uint8)[::2, :, ::2]
    strided[:] = images
    compiled = len(kernels.run.signatures)
    frozen = np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape)
    for other in (strided, np.asfortranarray(images), frozen, images[::-1][::-1]):
        assert np.array_equal(engine.dots(other), expected)
    assert len(kernels.run.signatures) == compiled  # no layout is compiled separately
    assert images.flags.writeable


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (np.zeros((2, 28, 28), np.float32), "float32 (2, 28, 28)"),
        (np.zeros((2, 28, 28), np.int8), "int8 (2, 28, 28)"),
        (np.zeros((2, 27, 28), np.uint8), "uint8 (2, 27, 28)"),
        (np.zeros((28, 28), np.uint8), "uint8 (28, 28)"),
        (np.zeros((2, 1, 28, 28), np.uint8), "uint8 (2, 1, 28, 28)"),
    ],
)
def test_other_images_are_refused(images: NDArray[np.uint8], shown: str) -> None:
    message = f"images: {shown}, expected uint8 (number of images, 28, 28)"
    with pytest.raises(ModelError, match=re.escape(message)):
        fast.Engine(MODEL).dots(images)


def test_a_model_that_is_too_large_or_inconsistent_is_refused() -> None:
    model, _ = networks.draw("pooled")
    with pytest.raises(ModelError, match="side: 257, expected 1 to 256"):
        fast.Engine(dataclasses.replace(model, side=257))
    with pytest.raises(ModelError, match=r"head\.in_channels: 64, expected 48"):
        fast.Engine(dataclasses.replace(model, blocks=model.blocks[:2]))


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_refused(threads: int) -> None:
    with pytest.raises(BnnError, match=f"threads: {threads}, expected 1 or more"):
        fast.Engine(MODEL, threads)
