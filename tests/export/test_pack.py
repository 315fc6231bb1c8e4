"""The packed network computes the same as the trained one: dot products exactly, logits bit for bit."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from support import networks as packed_networks
from support import patterns, topologies, trained
from support.paths import ROOT
from torch import nn

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Layer, Topology
from bnnlib.data import splits
from bnnlib.export import agreement, pack
from bnnlib.export.pack import PackError
from bnnlib.nn import layers, quantizers, weights
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.layers import NormedConvolution
from bnnlib.nn.published import Published, publish, restore
from bnnlib.packed import format as packed_format
from bnnlib.packed import reference
from bnnlib.packed.model import ModelError, Pass

COMMITTED = ROOT / "models/binary.safetensors"
IMAGES = np.random.default_rng(3).integers(0, 256, (8, 28, 28), dtype=np.uint8)


def layer(fan_in: int = 4, channels: int = 1) -> NormedConvolution:
    """A layer in evaluation mode with one input channel and the identity as batch norm."""
    sizes = Layer("blocks.0", 1, channels, kernel=round(fan_in**0.5), pool=1, in_side=round(fan_in**0.5))
    return NormedConvolution(sizes, trained.ONE_BIT, latent=True).eval()


def with_norm(weight: float, bias: float, mean: float, var: float = 1.0) -> NormedConvolution:
    changed = layer()
    with torch.no_grad():
        changed.norm.weight.fill_(weight)
        changed.norm.bias.fill_(bias)
        changed.norm.get_buffer("running_mean").fill_(mean)
        changed.norm.get_buffer("running_var").fill_(var)
    return changed


# Weight, bias and mean of a batch norm; threshold and flip worked out by hand. The dot products are -4, -2, 0, 2, 4.
NORMS = [
    (1, 0, 0, 0, False),  # the value is 0 at 0, and sign(0) = +1
    (1, 0, 0.5, 2, False),
    (1, 0, 2, 2, False),
    (1, 0, -1, 0, False),
    (1, 0, 4, 4, False),
    (1, 0, 4.5, 5, False),  # never
    (1, 0, 100, 5, False),
    (1, 0, -4, -4, False),  # always
    (1, 0, -100, -4, False),
    (-1, 0, 0, 2, True),  # below 2
    (-1, 0, 0.5, 2, True),
    (-1, 0, -0.5, 0, True),
    (-1, 0, 4, 5, True),  # always
    (-1, 0, -4, -2, True),
    (-1, 0, -4.5, -4, True),  # never
    (0, 0, 3, -4, False),  # no slope: the bias decides
    (0, 1, 0, -4, False),
    (0, -1, 0, 5, False),
    (-0.0, 0, 3, -4, False),
    (-0.0, -1, 0, 5, False),
    (1, -1e30, 0, 5, False),
    (-1e-30, -1, 0, -4, True),
]


@pytest.mark.parametrize(("weight", "bias", "mean", "threshold", "flipped"), NORMS)
def test_thresholds(weight: float, bias: float, mean: float, threshold: int, flipped: bool) -> None:
    packed = pack.pack_layers([with_norm(weight, bias, mean)], layer(1), side=2, input_thresholds=(1,))
    assert packed.blocks[0].thresholds.tolist() == [threshold]
    assert packed.blocks[0].flipped.tolist() == [flipped]


@pytest.mark.parametrize(
    ("bits", "threshold"),
    [([0, 0, 0], 3), ([0, 0, 1], 2), ([0, 1, 1], 0), ([1, 1, 1], -2)],
)
def test_switch_point(bits: list[int], threshold: int) -> None:
    assert pack.switch_point("x", np.array([-2, 0, 2], np.int32), np.array(bits, np.bool_)) == threshold


def test_the_first_pass_is_the_plain_one() -> None:
    published = publish(ConvNet(topologies.SMALL, Quantization(bits=1)), epoch=1)
    assert pack.pack(published).passes == (Pass(),)
    assert pack.pack(published, [Pass(right=1, brighter=5)]).passes == (Pass(), Pass(0, 1, 5))


@pytest.mark.parametrize("bits", [[1, 0, 0], [1, 0, 1], [0, 1, 0]])
def test_a_sign_that_switches_back_is_refused(bits: list[int]) -> None:
    with pytest.raises(PackError, match="x: its sign switches more than once"):
        pack.switch_point("x", np.array([-2, 0, 2], np.int32), np.array(bits, np.bool_))


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Both are float32 of the same shape and bits."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape) == (np.float32, found.shape)
    assert np.array_equal(found.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))


@settings(max_examples=150, deadline=None)
@given(trained.networks())
def test_small_networks(network: trained.Trained) -> None:
    packed = packed_format.decode(packed_format.encode(network.pack()))
    dots, logits = network.outputs()
    assert np.array_equal(reference.dots(packed, network.images), dots)
    assert_same(reference.logits(packed, network.images), logits)


def random_network(topology: Topology) -> ConvNet:
    return patterns.random_network(topology, Quantization(bits=1), IMAGES)


@pytest.fixture(scope="module")
def published() -> Published:
    """The committed 1-bit network."""
    return weights.read(COMMITTED)


def test_the_committed_network_on_test_images(published: Published, parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:300]
    packed = pack.pack(published)
    found = agreement.compare(
        {
            "torch": agreement.of_torch(restore(published), images),
            "reference": agreement.of_reference(packed, images),
        }
    )
    assert found == {"torch and reference": agreement.Difference(300, 0, 0, 0)}


@pytest.mark.parametrize("name", ["DEFAULT", "BASELINE", "SMALL", "UNEVEN"])
def test_an_untrained_network_with_negative_scales(name: str, parts: dict[str, splits.Split]) -> None:
    model = random_network(getattr(topologies, name))
    images = parts["test"].images[:50]
    packed = pack.pack(publish(model, epoch=1))
    assert any(block.flipped.any() for block in packed.blocks)
    found = agreement.difference(agreement.of_torch(model, images), agreement.of_reference(packed, images))
    assert found == agreement.Difference(50, 0, 0, 0)


def test_the_committed_file_is_the_packed_network(published: Published) -> None:
    passes = [Pass(each.down, each.right, each.brighter) for each in topologies.PARAMS.model.passes]
    content = packed_format.encode(pack.pack(published, passes))
    assert content == packed_networks.COMMITTED.read_bytes()
    *blocks, head = published.topology.layers()
    start = 10 + 6 + 2 * len(published.topology.input) + 6 * (len(blocks) + 1) + 2 + 6 * (1 + len(passes))
    weight_bytes = sum(ceil(each.weights / 8) for each in [*blocks, head])
    norms = sum(4 * block.out_channels + ceil(block.out_channels / 8) for block in blocks) + 8 * head.out_channels
    assert len(content) == start + weight_bytes + norms + 4  # the fields of docs/format.md; the checksum has 4 bytes


@pytest.mark.parametrize("thresholds", [(1,), (34, 255)])
def test_the_input_thresholds_are_those_of_the_network(thresholds: tuple[int, ...]) -> None:
    model = random_network(topologies.SMALL.model_copy(update={"input": thresholds}))
    assert pack.pack(publish(model, epoch=1)).input_thresholds == thresholds


def test_sizes_are_those_of_the_topology() -> None:
    packed = pack.pack(publish(random_network(topologies.UNEVEN), epoch=1))
    assert [tuple(shape) for shape in packed.shapes()] == [(5, 1, 1, 3), (33, 5, 3, 2), (10, 33, 3, 1)]
    assert packed.sides() == [layer.in_side for layer in topologies.UNEVEN.layers()]


@pytest.mark.parametrize("bits", [2, 16])
def test_a_wider_network_is_refused(bits: int) -> None:
    with pytest.raises(PackError, match=rf"bits: {bits}, expected 1: only a 1-bit network can be packed"):
        pack.pack(publish(ConvNet(topologies.SMALL, Quantization(bits=bits)), epoch=1))


def test_a_batch_norm_that_is_not_finite_is_refused() -> None:
    with pytest.raises(PackError, match=r"blocks\[0\]\.norm: the scale of channel 0 is nan"):
        pack.pack_layers([with_norm(1, 0, 0, var=-1)], layer(1), side=2, input_thresholds=(1,))
    with pytest.raises(PackError, match=r"head\.norm: the offset of channel 0 is -inf"):
        pack.pack_layers([], with_norm(10, 0, 1e38), side=2, input_thresholds=(1,))


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"head\.kernel: 2, expected 3"):
        pack.pack_layers([], layer(), side=3, input_thresholds=(1,))


def test_the_affine_is_the_trained_batch_norm() -> None:
    generator = torch.Generator().manual_seed(1)
    norm: nn.BatchNorm2d = with_norm(-1.7, 0.3, 12.5, var=90.0).norm
    x = torch.randn(1000, 1, 1, 1, generator=generator) * 10
    scale, offset = layers.affine(norm)
    # Each path rounds fewer than eight times, numbers of at most 1.7 * (abs(x) + 12.5) / sqrt(90) + 0.3 < 12.
    assert torch.allclose(x * scale + offset, norm(x), rtol=0, atol=2 * 8 * 12 * 2**-24)
    one = with_norm(-1.7, 0.3, 12.5, var=90.0)
    with torch.inference_mode():
        dots = torch.full((3, 1, 2, 2), 1.0)
        dot = float(quantizers.signs(one.weight).sum())
        assert one(dots)[:, 0, 0, 0].tolist() == [(torch.tensor(dot) * scale[0] + offset[0]).item()] * 3
