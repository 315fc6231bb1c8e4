"""The shapes of a search: within their bytes, filling them, in the proportions of the sample."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.config.topology import MAX_CHANNELS, SIDE, Block, Topology
from bnnlib.search import space
from bnnlib.search.space import STEP, Space

CFG = params.load(ROOT / "params.yaml")
POOLED = CFG.topology(1)


@st.composite
def origins(draw: st.DrawFn) -> Topology:
    """Topologies of one to five blocks, of any kernels and pools that fit."""
    blocks, left = [], SIDE
    for _ in range(draw(st.integers(1, 5))):
        kernel = draw(st.integers(1, min(left, 9)))
        convolved = left - kernel + 1
        pool = draw(st.integers(1, min(convolved, 3)))
        blocks.append(Block(channels=draw(st.integers(1, 80)), kernel=kernel, pool=pool))
        left = convolved // pool
    planes = draw(st.sets(st.integers(1, 255), min_size=1, max_size=12))
    return Topology(input=tuple(sorted(planes)), blocks=tuple(blocks))


@st.composite
def samples(draw: st.DrawFn, of: Space) -> dict[str, float]:
    return {
        name: draw(st.floats(low, high) if log else st.integers(int(low), int(high)))
        for name, (low, high, log) in of.ranges().items()
    }


@given(st.data(), origins(), st.sampled_from([1, 2, 16]), st.integers(20, 200_000))
@settings(max_examples=100, deadline=None)
def test_a_shape_never_has_more_bytes_and_keeps_the_blocks(data: Any, origin: Topology, bits: int, limit: int) -> None:
    origin = origin if bits == 1 else origin.model_copy(update={"input": ()})
    of = Space(origin, bits, limit)
    sample = data.draw(samples(of))
    found = of.topology(sample)
    if found is None:
        return
    assert Topology.model_validate(found.model_dump()) == found
    assert found.weight_bytes(bits) <= limit
    assert [block.pool for block in found.blocks] == [block.pool for block in origin.blocks]
    assert all(block.channels % STEP == 0 for block in found.blocks)
    assert len(found.input) == (sample["planes"] if bits == 1 else 0)
    kernels = [sample[f"kernel_{number}"] for number in range(1, len(origin.blocks) + 1)]
    assert all(block.kernel <= kernel for block, kernel in zip(found.blocks, kernels, strict=True))


@given(samples(Space(POOLED, 1, 3232)))
@settings(max_examples=50, deadline=None)
def test_the_bytes_are_used_up(sample: dict[str, float]) -> None:
    found = Space(POOLED, 1, 3232).topology(sample)
    assert found is not None
    # A step of the first block, whose kernel and successor are the largest, costs up to 250 bytes; others less.
    narrow = [block for block in found.blocks if block.channels > STEP]
    assert 3232 - found.weight_bytes(1) < 250 or not narrow


@pytest.mark.parametrize("limit", range(1000, 20_000, 911))
def test_the_origin_is_scaled_closely(limit: int) -> None:
    of = Space(POOLED, 1, limit)
    found = of.topology(of.start())
    assert found is not None
    assert limit - found.weight_bytes(1) <= max(63, 0.02 * limit)  # 63: a step of the last block at 1000 bytes
    ratios = [block.channels / known.channels for block, known in zip(found.blocks, POOLED.blocks, strict=True)]
    assert max(ratios) / min(ratios) < 1.5


def test_on_average_less_than_a_hundredth_is_left() -> None:
    of = Space(POOLED, 1, 3232)
    left = []
    for first in (3, 5, 7):
        for width in (0.3, 0.5, 0.9, 1.4, 3.0):
            for planes in (1, 4, 8):
                sample = {**of.start(), "kernel_1": first, "width_2": width, "planes": planes}
                found = of.topology(sample)
                assert found is not None
                left.append(3232 - found.weight_bytes(1))
    assert statistics.fmean(left) < 32


@pytest.mark.parametrize(("topology", "bits"), [("pooled", 1), ("pooled", 16), ("baseline", 1), ("baseline", 4)])
def test_a_topology_at_its_own_bytes_is_itself(topology: str, bits: int) -> None:
    cfg = CFG.model_copy(update={"model": CFG.model.model_copy(update={"topology": topology})})
    origin = cfg.topology(bits)
    of = Space(origin, bits, origin.weight_bytes(bits))
    assert of.topology(of.start()) == origin


def test_the_least_and_the_most_bytes() -> None:
    least, most = Space(POOLED, 1, 0).bounds()
    narrowest = Space(POOLED, 1, least).topology(Space(POOLED, 1, 0).start())
    assert narrowest is not None
    assert [block.channels for block in narrowest.blocks] == [STEP] * 3
    assert Space(POOLED, 1, least - 1).topology(Space(POOLED, 1, 0).start()) is None
    widest = Space(POOLED, 1, most).topology(Space(POOLED, 1, 0).start())
    assert widest is not None
    assert [block.channels for block in widest.blocks] == [MAX_CHANNELS] * 3


def test_kernels_are_cut_down_to_what_the_pooling_leaves() -> None:
    early = Topology.model_validate({"input": [64], "blocks": [[20, 5, 2], [36, 3, 2], [40, 3, 1]]})
    of = Space(early, 1, 3232)
    found = of.topology({**of.start(), "kernel_1": 7, "kernel_2": 5, "kernel_3": 5})
    assert found is not None  # 28 - 7 + 1 = 22, pooled 11; 11 - 5 + 1 = 7, pooled 3; of which 5 is cut to 3
    assert [block.kernel for block in found.blocks] == [7, 5, 3]


def test_widths_follow_the_sample() -> None:
    of = Space(POOLED, 1, 7168)
    found = of.topology({**of.start(), "width_3": 2.0})
    assert found is not None
    first, second, third = (block.channels for block in found.blocks)
    assert second / first == pytest.approx(56 / 32, rel=0.25)
    assert third / first == pytest.approx(2 * 64 / 32, rel=0.25)


@pytest.mark.parametrize(
    ("known", "planes", "expected"),
    [
        ((32, 96, 160, 224), 4, (32, 96, 160, 224)),
        ((32, 96, 160, 224), 1, (128,)),
        ((32, 96, 160, 224), 2, (64, 192)),
        ((32, 96, 160, 224), 8, (16, 48, 80, 112, 144, 176, 208, 240)),
        ((64,), 1, (64,)),
        ((64,), 2, (32, 160)),
        ((1,), 4, (1, 2, 65, 192)),  # they rise, and none is 0
        ((255,), 4, (64, 191, 254, 255)),
    ],
)
def test_thresholds_of_another_number_of_planes(known: tuple[int, ...], planes: int, expected: tuple[int, ...]) -> None:
    assert space.thresholds(known, planes) == expected


@given(st.sets(st.integers(1, 255), min_size=1, max_size=64), st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_thresholds_are_always_allowed(known: set[int], planes: int) -> None:
    found = space.thresholds(tuple(sorted(known)), planes)
    assert len(found) == planes
    assert Topology(input=found, blocks=()).input == found
