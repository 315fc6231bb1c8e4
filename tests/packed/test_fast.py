"""The fast engine against the reference: any shape, any thread count, with the instructions at hand and without."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings
from numba.core import caching
from numpy.typing import NDArray
from support import networks
from support.networks import Sizes
from support.paths import ROOT

from bnnlib.core.errors import BnnError
from bnnlib.data import splits
from bnnlib.packed import fast, jit, kernels, plan, reference
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

TESTS = ROOT / "tests"
MODEL = networks.committed()
# Both sides of vectors of 16 and 32 lanes and of one and two words of 32 bits.
CHANNELS = [1, 2, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 100]


def all_different(side: int, channels: int, kernel: int) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A network in which every bit of every window differs from the weights: the largest counts there can be."""
    always = np.full(channels, -((side - kernel + 1) ** 2), np.int32)
    size = side - kernel + 1
    first = Block(np.zeros((channels, 1, size, size), np.bool_), always, np.zeros(channels, np.bool_))
    head = Head(np.zeros((3, channels, kernel, kernel), np.bool_), np.ones(3, np.float32), np.zeros(3, np.float32))
    return PackedModel(side, (0,), (first,), head), np.zeros((2, side, side), np.uint8)


def showing(block: Block, side: int) -> PackedModel:
    """A network of one block on images of side x side pixels, with a class for each bit of its output."""
    channels, left = len(block.weights), (side - block.weights.shape[2] + 1) // block.pool
    bits = channels * left**2
    weights = np.eye(bits, dtype=np.bool_).reshape(bits, channels, left, left)
    return PackedModel(side, (128,), (block,), Head(weights, np.ones(bits, np.float32), np.zeros(bits, np.float32)))


def check(model: PackedModel, images: NDArray[np.uint8]) -> None:
    """The fast engine gives what the reference gives."""
    engine = fast.Engine(model)
    expected = reference.dots(model, images)
    found = engine.dots(images)
    assert (found.dtype, found.shape) == (np.int32, expected.shape)
    assert found.tolist() == expected.tolist()
    logits = engine.logits(images)
    assert logits.dtype == np.float32
    assert logits.tobytes() == reference.affine(model.head, expected).tobytes()


def check_fixed_networks() -> None:
    """The networks at fixed sizes, for a process of its own."""
    for name in networks.SIZES:
        check(*networks.draw(name))
    for channels in (32, 1000):
        check(*all_different(12, channels, 6))
    for model in (MODEL, networks.baseline()):
        check(model, np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8))


@settings(max_examples=150, deadline=None)
@given(networks.any_sizes(CHANNELS, largest_side=16, largest_kernel=16), st.integers(0, 2**32))
# A row of the first kernel in one word, just not, and in two and a bit; with two planes in a word just so.
@example(Sizes(40, 1, [(5, 31, 1), (3, 10, 1)], 2), 0)
@example(Sizes(40, 1, [(5, 32, 1), (3, 9, 1)], 2), 0)
@example(Sizes(40, 1, [(5, 33, 2), (3, 4, 1)], 2), 0)
@example(Sizes(66, 1, [(3, 64, 1), (2, 3, 1)], 2), 0)
@example(Sizes(20, 2, [(3, 16, 1), (2, 3, 1)], 2), 0)
@example(Sizes(35, 1, [], 3), 0)
@example(Sizes(1, 1, [], 1), 0)
# As many planes as bits in a word, and one more; the most there may be.
@example(Sizes(4, 32, [(3, 2, 1)], 2), 0)
@example(Sizes(4, 33, [(3, 2, 1)], 2), 0)
@example(Sizes(3, 64, [], 2), 0)
# 30, 31, 32, 63 and 64 words a window, for 31 are counted at a time; 1024 channels is the most there may be.
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
    # All sixteen images of 2 x 2: dots of -4, -2, 0, 2, 4 meet thresholds from -4 to 5, both ways round.
    bits = np.unpackbits(np.arange(16, dtype=np.uint8)[:, None], axis=1)[:, 4:]
    images = (bits * 255).astype(np.uint8).reshape(16, 2, 2)
    thresholds = np.tile(np.arange(-4, 6, dtype=np.int32), 2)
    check(showing(Block(np.ones((20, 1, 2, 2), np.bool_), thresholds, np.arange(20) >= 10), 2), images)


@pytest.mark.parametrize(("pool", "channels"), [(1, 8), (2, 40), (3, 40), (4, 40), (5, 40), (11, 40)])
def test_every_place_of_every_pooling_window(pool: int, channels: int) -> None:
    # One bright pixel at a time: it sets the bit of its window, reversed after pooling where flipped, and no other.
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


@pytest.mark.parametrize(("images", "threads", "size"), [(0, 2, 64), (140, 2, 70), (1000, 2, 250), (1100, 2, 184)])
def test_slices_are_equal_shares(images: int, threads: int, size: int) -> None:
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


def test_images_of_any_layout_and_left_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    engine = fast.Engine(MODEL)
    expected = engine.dots(images)
    strided = np.zeros((12, 28, 56), np.uint8)[::2, :, ::2]
    strided[:] = images
    compiled = len(kernels.run.signatures)
    frozen = np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape)
    for other in (strided, np.asfortranarray(images), frozen, images[::-1][::-1]):
        assert np.array_equal(engine.dots(other), expected)
    assert len(kernels.run.signatures) == compiled  # no layout costs another compilation
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


def test_a_model_that_is_too_large_or_does_not_hold_together_is_refused() -> None:
    model, _ = networks.draw("pooled")
    with pytest.raises(ModelError, match="side: 257, expected 1 to 256"):
        fast.Engine(dataclasses.replace(model, side=257))
    with pytest.raises(ModelError, match=r"head\.in_channels: 64, expected 48"):
        fast.Engine(dataclasses.replace(model, blocks=model.blocks[:2]))


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_refused(threads: int) -> None:
    with pytest.raises(BnnError, match=f"threads: {threads}, expected 1 or more"):
        fast.Engine(MODEL, threads)


def used_bits(laid_out: plan.Plan) -> int:
    """Bits that are set in all weights."""
    return int(np.bitwise_count(laid_out.weights).sum())


def weights_of(model: PackedModel) -> int:
    """Weights of +1."""
    return sum(int(layer.weights.sum()) for layer in model.layers())


def test_the_plan_of_one_plane_without_pooling() -> None:
    model = networks.baseline()
    laid_out = plan.lay_out(model, widths=[16], tile=4)
    assert laid_out.strips[["planes", "width", "rows"]].tolist() == [(1, 9, 1), (1, 9, 3)]  # 27 bits in a word
    at = laid_out.strips["at"][1]
    assert laid_out.offsets[:3].tolist() == [at, at + 84, at + 168]  # so every third row of 28
    assert laid_out.groups["pixels"].tolist() == [400, 400, 144, 16, 4]
    assert laid_out.groups["words"].tolist() == [3, 3, 81, 81, 16]
    assert laid_out.groups["shift"].tolist() == [0, 16, 0, 0, 0]
    assert used_bits(laid_out) == weights_of(model)  # each weight once, padding is 0


def test_the_plan_of_several_planes_with_pooling() -> None:
    model, _ = networks.build(Sizes(28, 3, [(32, 5, 2), (48, 3, 2), (70, 3, 1)], 10), 0, images=1)
    laid_out = plan.lay_out(model, widths=[32, 16], tile=4)
    assert laid_out.strips[["planes", "width", "rows"]].tolist() == [(3, 5, 1), (3, 5, 2)]  # 75 bits in three words
    groups = laid_out.groups
    assert groups["lanes"].tolist() == [32, 32, 16, 32, 32, 16, 16]
    assert groups["pixels"].tolist() == [144, 25, 25, 12, 12, 12, 4]  # whole tiles where nothing is pooled
    assert groups["window"].tolist() == [4, 4, 4, 1, 1, 1, 1]
    assert groups["words"].tolist() == [3, 9, 9, 18, 18, 18, 27]
    assert used_bits(laid_out) == weights_of(model)


@pytest.mark.parametrize(
    ("planes", "kernel", "words"), [(1, 5, 1), (1, 6, 2), (2, 5, 2), (3, 5, 3), (4, 5, 4), (3, 7, 6), (33, 1, 5)]
)
def test_the_first_layer_reads_few_words(planes: int, kernel: int, words: int) -> None:
    model, _ = networks.build(Sizes(kernel, planes, [(1, kernel, 1)], 2), 0, images=1)
    laid_out = plan.lay_out(model, widths=[16], tile=4)
    assert laid_out.groups["words"][0] == words


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_pooling_windows_are_whole_tiles_and_what_is_left_out_is_not_computed(pool: int) -> None:
    windows = plan._windows(side=9, kernel=2, pool=pool, tile=4)
    left = 8 // pool
    assert windows.shape == {1: (64, 1), 2: (16, 4), 3: (4, 12)}[pool]
    ends = {y * 9 + x for y in range(left * pool) for x in range(left * pool)}
    assert set(windows.ravel().tolist()) == ends
    for number, window in enumerate(windows.tolist()):
        y, x = divmod(number, left)
        assert {(place // 9 // pool, place % 9 // pool) for place in window} == {(y, x)}


def test_vectors_lie_in_one_cache_line() -> None:
    laid_out = plan.lay_out(networks.draw("pooled")[0], widths=[32, 16], tile=4)
    assert laid_out.weights.ctypes.data % 64 == laid_out.limits.ctypes.data % 64 == 0


def test_where_no_folder_takes_the_cache_the_code_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert jit.kernel(lambda x: x + 1)(2) == 3


def child(code: str, **environment: str) -> str:
    """Output of Python code in a process of its own, which can import the tests."""
    path = os.pathsep.join([str(TESTS), str(TESTS / "packed"), str(ROOT)])
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, **environment}, check=True, capture_output=True, text=True
    ).stdout


MISSES = "; print(sum(t.kernels.run.stats.cache_misses.values()))"  # how often `run` had to be compiled


@pytest.mark.parametrize(
    "processor",
    [
        "generic",
        pytest.param("x86-64-v3", marks=pytest.mark.skipif(os.uname().machine != "x86_64", reason="is of x86")),
    ],
)
def test_smaller_processors_give_the_same(processor: str, tmp_path: Path) -> None:
    code = "import test_fast as t; t.check_fixed_networks()" + MISSES
    masked = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert child(code, **masked).strip() == "1"


def test_a_second_process_finds_the_code_in_the_cache(tmp_path: Path) -> None:
    code = "import test_fast as t; t.check(*t.networks.draw('a bit over'))" + MISSES
    assert [child(code, NUMBA_CACHE_DIR=str(tmp_path)).strip() for _ in range(2)] == ["1", "0"]
