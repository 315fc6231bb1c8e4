"""The plan of the fast engine: strips, groups and words of networks of known sizes."""

from __future__ import annotations

import numpy as np
import pytest
from support import networks
from support.networks import Sizes

from bnnlib.packed import plan
from bnnlib.packed.model import PackedModel


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
    assert laid_out.offsets[:3].tolist() == [at, at + 84, at + 168]  # every third row of 28 pixels
    assert laid_out.groups["pixels"].tolist() == [400, 400, 144, 16, 4]
    assert laid_out.groups["words"].tolist() == [3, 3, 81, 81, 16]
    assert laid_out.groups["shift"].tolist() == [0, 16, 0, 0, 0]
    assert used_bits(laid_out) == weights_of(model)  # each weight once, padding 0


def test_the_plan_of_several_planes_with_pooling() -> None:
    model, _ = networks.build(Sizes(28, 3, [(32, 5, 2), (48, 3, 2), (70, 3, 1)], 10), 0, images=1)
    laid_out = plan.lay_out(model, widths=[32, 16], tile=4)
    assert laid_out.strips[["planes", "width", "rows"]].tolist() == [(3, 5, 1), (3, 5, 2)]  # 75 bits in three words
    groups = laid_out.groups
    assert groups["lanes"].tolist() == [32, 32, 16, 32, 32, 16, 16]
    assert groups["pixels"].tolist() == [144, 25, 25, 12, 12, 12, 4]  # whole tiles if nothing is pooled
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
def test_pooling_windows_are_whole_tiles_and_pixels_outside_them_are_not_computed(pool: int) -> None:
    windows = plan._windows(side=9, kernel=2, pool=pool, tile=4)
    left = 8 // pool
    assert windows.shape == {1: (64, 1), 2: (16, 4), 3: (4, 12)}[pool]
    ends = {y * 9 + x for y in range(left * pool) for x in range(left * pool)}
    assert set(windows.ravel().tolist()) == ends
    for number, window in enumerate(windows.tolist()):
        y, x = divmod(number, left)
        assert {(place // 9 // pool, place % 9 // pool) for place in window} == {(y, x)}


def test_vectors_do_not_cross_a_cache_line() -> None:
    laid_out = plan.lay_out(networks.draw("pooled")[0], widths=[32, 16], tile=4)
    assert laid_out.weights.ctypes.data % 64 == laid_out.limits.ctypes.data % 64 == 0
