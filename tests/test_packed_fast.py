"""The fast engine against the reference: any shape, any thread count, with the instructions at hand and without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis.strategies as st
import networks
import numpy as np
import pytest
from hypothesis import example, given, settings
from numba.core import caching
from numpy.typing import NDArray

from bnnlib import mnist
from bnnlib.errors import BnnError
from bnnlib.packed import fast, jit, plan, reference
from bnnlib.packed.model import Block, Head, ModelError, PackedModel

TESTS = Path(__file__).resolve().parent
MODEL = networks.committed()
# Both sides of a vector of 16 lanes and of one and two words of 32 bits.
CHANNELS = [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 100]


def all_different(side: int, channels: int, kernel: int) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A network in which every bit of every window differs from the weights: the largest counts there can be."""
    always = np.full(channels, -((side - kernel + 1) ** 2), np.int32)
    size = side - kernel + 1
    first = Block(np.zeros((channels, 1, size, size), np.bool_), always, np.zeros(channels, np.bool_))
    head = Head(np.zeros((3, channels, kernel, kernel), np.bool_), np.ones(3, np.float32), np.zeros(3, np.float32))
    return PackedModel(side, 0, (first,), head), np.zeros((2, side, side), np.uint8)


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
    for name in networks.SHAPES:
        check(*networks.draw(name))
    for channels in (32, 1000):
        check(*all_different(12, channels, 6))
    check(MODEL, np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8))


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], int]:
    """Side, (channels, kernel) of each block, classes."""
    side = left = draw(st.integers(1, 14))
    blocks = []
    for _ in range(draw(st.integers(0, 3))):
        kernel = draw(st.integers(1, left))
        blocks.append((draw(st.sampled_from(CHANNELS)), kernel))
        left -= kernel - 1
    return side, blocks, draw(st.sampled_from([1, 2, 10, 15, 16, 17, 33]))


@settings(max_examples=150, deadline=None)
@given(shapes(), st.integers(0, 2**32))
# A row of the first kernel in one word, just not, and in two and a bit.
@example((40, [(5, 31), (3, 10)], 2), 0)
@example((40, [(5, 32), (3, 9)], 2), 0)
@example((40, [(5, 33), (3, 8)], 2), 0)
@example((66, [(3, 64), (2, 3)], 2), 0)
@example((35, [], 3), 0)
@example((1, [], 1), 0)
# 30, 31, 32, 63 and 64 words a window, for 31 are counted at a time; 1024 channels is the most there may be.
@example((6, [(930, 1), (5, 1)], 2), 0)
@example((6, [(992, 1), (5, 1)], 2), 0)
@example((6, [(1024, 1), (5, 1)], 2), 0)
@example((3, [(481, 1), (5, 2)], 2), 0)
@example((8, [(224, 1), (5, 3)], 2), 0)
def test_random_networks(shape: tuple[int, list[tuple[int, int]], int], seed: int) -> None:
    check(*networks.build(*shape, seed, images=5))


@pytest.mark.parametrize("name", networks.SHAPES)
def test_networks_of_chosen_shapes(name: str) -> None:
    check(*networks.draw(name))


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 496, 1000])
def test_the_largest_counts(channels: int) -> None:
    model, images = all_different(12, channels, 6)
    assert fast.Engine(model).dots(images).tolist() == [[-36 * channels] * 3] * 2


def test_all_inputs_and_thresholds() -> None:
    images = np.arange(256, dtype=np.uint8)[:, None, None]
    for threshold in (0, 1, 127, 128, 255, 256):
        head = Head(np.ones((1, 1, 1, 1), np.bool_), np.ones(1, np.float32), np.zeros(1, np.float32))
        found = fast.Engine(PackedModel(1, threshold, (), head)).dots(images)
        assert found.ravel().tolist() == [1 if pixel >= threshold else -1 for pixel in range(256)]


def test_every_threshold_of_one_dot_product() -> None:
    # All sixteen images of 2 x 2: dots of -4, -2, 0, 2, 4 meet thresholds from -4 to 5, both ways round.
    bits = np.unpackbits(np.arange(16, dtype=np.uint8)[:, None], axis=1)[:, 4:]
    images = (bits * 255).astype(np.uint8).reshape(16, 2, 2)
    thresholds = np.tile(np.arange(-4, 6, dtype=np.int32), 2)
    weights = np.ones((20, 1, 2, 2), np.bool_)
    block = Block(weights, thresholds, np.arange(20) >= 10)
    head = Head(np.eye(20, dtype=np.bool_)[:, :, None, None], np.ones(20, np.float32), np.zeros(20, np.float32))
    check(PackedModel(2, 128, (block,), head), images)


def test_the_trained_network_on_real_images(parts: dict[str, mnist.Split]) -> None:
    check(MODEL, parts["test"].images[:600])


def test_any_number_of_threads_gives_the_same(parts: dict[str, mnist.Split]) -> None:
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


def test_calls_at_the_same_time_give_the_same(parts: dict[str, mnist.Split]) -> None:
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
    compiled = len(fast.run.signatures)
    frozen = np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape)
    for other in (strided, np.asfortranarray(images), frozen, images[::-1][::-1]):
        assert np.array_equal(engine.dots(other), expected)
    assert len(fast.run.signatures) == compiled  # no layout costs another compilation
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


def test_a_model_too_large_or_torn_is_refused() -> None:
    with pytest.raises(ModelError, match="side: 257, expected 1 to 256"):
        fast.Engine(PackedModel(257, 34, MODEL.blocks, MODEL.head))
    with pytest.raises(ModelError, match=r"head\.in_channels: 8, expected 16"):
        fast.Engine(PackedModel(28, 34, MODEL.blocks[:2], MODEL.head))


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_refused(threads: int) -> None:
    with pytest.raises(BnnError, match=f"threads: {threads}, expected 1 or more"):
        fast.Engine(MODEL, threads)


def test_the_plan_of_the_trained_network() -> None:
    laid_out = plan.lay_out(MODEL, lanes=16, tile=4)
    assert laid_out.planes.tolist() == [(0, 9, 3, 28)]  # 3 rows of 9 bits in a word
    assert laid_out.offsets[:3].tolist() == [0, 84, 168]  # so every third row of 28
    assert laid_out.layers["pixels"].tolist() == [400, 144, 16, 4]
    assert laid_out.layers["words"].tolist() == [3, 81, 81, 16]
    assert laid_out.layers["groups"].tolist() == [2, 1, 1, 1]
    bits = int(np.bitwise_count(laid_out.weights).sum())
    assert bits == sum(int(layer.weights.sum()) for layer in MODEL.layers())  # each weight once, padding is 0


def test_where_no_folder_takes_the_cache_the_code_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert jit.kernel(lambda x: x + 1)(2) == 3


def child(code: str, **environment: str) -> str:
    """Output of Python code in a process of its own, which can import the tests."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, **environment}, check=True, capture_output=True, text=True
    ).stdout


MISSES = "; print(sum(t.fast.run.stats.cache_misses.values()))"  # how often `run` had to be compiled


def test_the_smallest_processor_gives_the_same(tmp_path: Path) -> None:
    code = "import test_packed_fast as t; t.check_fixed_networks()" + MISSES
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert child(code, **plain).strip() == "1"


def test_a_second_process_finds_the_code_in_the_cache(tmp_path: Path) -> None:
    code = "import test_packed_fast as t; t.check(*t.networks.draw('a bit over'))" + MISSES
    assert [child(code, NUMBA_CACHE_DIR=str(tmp_path)).strip() for _ in range(2)] == ["1", "0"]
