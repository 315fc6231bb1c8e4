"""Sizes and costs of topologies, worked out by hand; other modules have the same limits and the same baseline."""

from __future__ import annotations

import pytest
from support import topologies

from bnnlib.benchmark.training import baseline_loop
from bnnlib.config import topology
from bnnlib.config.spec import Bits
from bnnlib.config.topology import Block, Layer, Topology
from bnnlib.data.mnist import SIDE
from bnnlib.packed import model as packed

# Pooling drops the last of 7 rows and columns.
SMALL = Topology(
    input=(34, 128), blocks=(Block(channels=6, kernel=22, pool=2), Block(channels=5, kernel=3, pool=1))
)  # 28 - 22 + 1 = 7, 7 // 2 = 3, 3 - 3 + 1 = 1
WIDE = SMALL.model_copy(update={"input": ()})
WEIGHTS = 6 * 2 * 22**2 + 5 * 6 * 3**2 + 10 * 5  # 5,808 + 270 + 50
WIDE_WEIGHTS = 6 * 22**2 + 270 + 50  # one plane


def test_layers_and_their_sides() -> None:
    layers = SMALL.layers()
    assert layers == [
        Layer("blocks.0", in_channels=2, out_channels=6, kernel=22, pool=2, in_side=28),
        Layer("blocks.1", in_channels=6, out_channels=5, kernel=3, pool=1, in_side=3),
        Layer("head", in_channels=5, out_channels=10, kernel=1, pool=1, in_side=1),
    ]
    assert [(layer.convolved_side, layer.out_side) for layer in layers] == [(7, 3), (1, 1), (1, 1)]


def test_without_thresholds_the_image_itself_is_one_plane() -> None:
    first, *others = WIDE.layers()
    assert first == Layer("blocks.0", in_channels=1, out_channels=6, kernel=22, pool=2, in_side=28)
    assert others == SMALL.layers()[1:]


def test_weights_and_multiply_adds() -> None:
    assert [layer.weights for layer in SMALL.layers()] == [5808, 270, 50]
    assert [layer.macs for layer in SMALL.layers()] == [5808 * 7**2, 270, 50]  # also in the row that pooling drops
    assert (SMALL.weights, WIDE.weights) == (WEIGHTS, WIDE_WEIGHTS) == (6128, 3224)
    assert (SMALL.macs, WIDE.macs) == (5808 * 49 + 320, 2904 * 49 + 320)


@pytest.mark.parametrize(("bits", "size"), [(1, 766), (2, 806), (4, 1612), (8, 3224), (16, 6448), (32, 12_896)])
def test_weight_bytes(bits: Bits, size: int) -> None:
    assert (SMALL if bits == 1 else WIDE).weight_bytes(bits) == size  # 6,128 or 3,224 weights of this width


def test_a_last_byte_that_is_not_full_counts_whole() -> None:
    uneven = Topology(input=(64,), blocks=(Block(channels=1, kernel=28, pool=1),))
    assert uneven.weights == 28**2 + 10
    assert uneven.weight_bytes(bits=1) == 100  # 794 bits are 99 bytes and 2 bits
    assert uneven.weight_bytes(bits=2) == 199  # 198 bytes and 4 bits


def test_without_a_block() -> None:
    """The head covers the image."""
    alone = Topology(input=(64,), blocks=())
    assert alone.layers() == [Layer("head", 1, 10, kernel=28, pool=1, in_side=28)]
    assert alone.weights == alone.macs == 7840
    assert alone.weight_bytes(bits=1) == 980


@pytest.mark.parametrize(("kernel", "pool"), [(28, 1), (1, 28), (1, 15), (15, 14)])
def test_a_side_of_one_is_left(kernel: int, pool: int) -> None:
    block, head = Topology(input=(64,), blocks=(Block(channels=3, kernel=kernel, pool=pool),)).layers()
    assert (block.convolved_side, block.out_side, head.in_side, head.kernel) == (29 - kernel, 1, 1, 1)


@pytest.mark.parametrize(("pool", "left"), [(1, 28), (2, 14), (3, 9), (5, 5), (9, 3), (10, 2), (14, 2), (15, 1)])
def test_pooling_drops_what_fills_no_window(pool: int, left: int) -> None:
    layers = Topology(input=(64,), blocks=(Block(channels=1, kernel=1, pool=pool),)).layers()
    assert [layer.in_side for layer in layers] == [28, left]


def test_the_baseline() -> None:
    baseline = topologies.BASELINE
    assert [layer.in_side for layer in baseline.layers()] == [28, 20, 12, 4]
    assert [layer.weights for layer in baseline.layers()] == [2592, 41_472, 10_368, 1280]
    assert [layer.macs for layer in baseline.layers()] == [2592 * 400, 41_472 * 144, 10_368 * 16, 1280]
    assert (baseline.weights, baseline.macs) == (55_712, 7_175_936)
    assert baseline.weight_bytes(bits=1) == 6964


def test_the_default_has_no_more_weight_bytes_than_the_project_may_publish() -> None:
    """At most 7,328: the bound under which a better topology was searched."""
    assert topologies.DEFAULT.weight_bytes(bits=1) <= 7328


def test_the_baseline_of_the_parameters_is_that_of_the_baseline_loop() -> None:
    assert topologies.PARAMS.topologies["baseline"].blocks == baseline_loop.TOPOLOGY.blocks


def test_the_packed_network_has_the_same_limits() -> None:
    ours = (topology.MAX_PLANES, topology.MAX_BLOCKS, topology.MAX_CHANNELS)
    assert ours == (packed.MAX_PLANES, packed.MAX_BLOCKS, packed.MAX_CHANNELS)
    assert SIDE <= packed.MAX_KERNEL
