"""The networks: shapes, sizes, exact values inside, and the published network against the one in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import patterns, topologies
from torch import Tensor, nn
from torch.nn import functional

from bnnlib.config.spec import Bits, Quantization
from bnnlib.config.topology import Topology
from bnnlib.nn import layers, quantizers
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.layers import NORM_STATE, NormedConvolution
from bnnlib.nn.published import NonFiniteError, first_kernels, layout, publish, restore

IMAGES = torch.randint(0, 256, (6, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def network(bits: Bits, topology: Topology = topologies.SMALL, **choices: Any) -> ConvNet:
    """A network in evaluation mode whose batch norms differ from the identity, some of negative scale."""
    return patterns.random_network(topology, Quantization(bits=bits, **choices), IMAGES.numpy(), seed=bits)


@pytest.mark.parametrize("topology", [topologies.DEFAULT, topologies.BASELINE, topologies.UNEVEN], ids=str)
@pytest.mark.parametrize("bits", [1, 16])
@pytest.mark.parametrize("training", [True, False])
def test_output_shape(bits: int, training: bool, topology: Topology) -> None:
    logits = network(bits, topology).train(training)(IMAGES)
    assert (logits.shape, logits.dtype) == ((6, 10), torch.float32)


def test_kernels_channels_and_planes() -> None:
    model = ConvNet(topologies.SMALL, Quantization(bits=1))
    shapes = {name: tuple(layer.weight.shape) for name, layer in model.named_layers()}
    assert shapes == {
        "blocks.0": (6, 2, 5, 5),
        "blocks.1": (7, 6, 3, 3),
        "blocks.2": (8, 7, 3, 3),
        "head": (10, 8, 3, 3),
    }
    assert tuple(ConvNet(topologies.SMALL, Quantization(bits=2)).layers()[0].weight.shape) == (6, 1, 5, 5)


def test_without_a_block_the_head_covers_the_image() -> None:
    model = ConvNet(Topology(input=(64,), blocks=()), Quantization(bits=1))
    assert [tuple(layer.weight.shape) for layer in model.layers()] == [(10, 1, 28, 28)]
    assert model(IMAGES).shape == (6, 10)


@torch.inference_mode()
def logits_of(model: ConvNet) -> Tensor:
    return model(IMAGES)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 32])
def test_the_published_network_gives_the_same_logits_bit_for_bit(bits: int) -> None:
    model = network(bits)
    restored = restore(publish(model, epoch=1))
    assert not restored.training
    assert torch.equal(logits_of(restored), logits_of(model))


def test_restoring_draws_no_random_number() -> None:
    published = publish(network(1), epoch=1)
    before = torch.get_rng_state()
    restore(published)
    assert torch.equal(torch.get_rng_state(), before)


FOLDED: list[tuple[Bits, str]] = [(1, "channel_scale"), (2, "learned_step"), (4, "learned_step"), (8, "learned_step")]


@pytest.mark.parametrize(("bits", "choice"), FOLDED)
def test_scales_and_learned_steps_are_folded_into_the_published_norms(bits: Bits, choice: str) -> None:
    model = network(bits, **{choice: True})
    with torch.no_grad():
        for number, (name, step) in enumerate(model.named_parameters()):
            if ".steps." in name:
                step.mul_(1.1 + number / 50)  # each another value
    published = publish(model, epoch=1)
    assert published.tensors.keys() == layout(topologies.SMALL, bits).keys()
    logits, folded = logits_of(model), logits_of(restore(published))
    plain = ConvNet(topologies.SMALL, Quantization(bits=bits)).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    # They differ by a few roundings of float32. At 8 bits some of the 6,666 activations lie so near an edge between two
    # of the 255 steps that the rounding decides, and each of these changes the logits a little.
    assert (folded - logits).abs().max() < (0.3 if bits == 8 else 1e-4)
    assert (logits_of(plain) - logits).abs().max() > 2  # without the choice


def round_norms_to_half(model: ConvNet) -> None:
    for layer in model.layers():
        for name in NORM_STATE:
            tensor = getattr(layer.norm, name)
            tensor.data.copy_(tensor.half().float())


def test_the_published_16_bit_network_gives_the_same_logits_where_its_norms_are_half_values() -> None:
    model = network(16)
    published = publish(model, epoch=1)
    assert not torch.equal(logits_of(restore(published)), logits_of(model))  # the norms are rounded
    round_norms_to_half(model)
    assert torch.equal(logits_of(restore(published)), logits_of(model))


def test_publishing_copies() -> None:
    model = network(32)
    published = publish(model, epoch=1)
    before = {name: tensor.clone() for name, tensor in published.tensors.items()}
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in published.tensors.items())


@torch.no_grad()
def values_used(model: ConvNet, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs of the convolutions and the weights that they use."""
    maps, weights = [], []
    real = functional.conv2d

    def spy(x: Tensor, weight: Tensor) -> Tensor:
        maps.append(x)
        weights.append(weight)
        return real(x, weight)

    monkeypatch.setattr(layers.functional, "conv2d", spy)
    model(IMAGES)
    assert len(maps) == 4
    return maps, weights


@pytest.mark.parametrize("training", [True, False])
def test_all_values_of_the_binary_network_are_minus_one_or_one(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, weights = values_used(network(1).train(training), monkeypatch)
    assert [tuple(x.shape) for x in maps] == [(6, 2, 28, 28), (6, 6, 12, 12), (6, 7, 5, 5), (6, 8, 3, 3)]
    for tensor in maps + weights:
        assert torch.unique(tensor).tolist() == [-1, 1]


def is_half(tensor: Tensor) -> bool:
    return torch.equal(tensor, tensor.half().float())


@pytest.mark.parametrize("training", [True, False])
def test_all_values_of_the_16_bit_network_are_half_values(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(16).train(training)
    assert not any(is_half(layer.weight) for layer in model.layers())  # the latent weights are not
    maps, weights = values_used(model, monkeypatch)
    for tensor in maps + weights:
        assert is_half(tensor)
        assert len(torch.unique(tensor)) > 40


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_all_values_of_2_to_8_bits_lie_on_their_grid(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, weights = values_used(network(bits).train(), monkeypatch)
    codes = torch.arange(2**bits)
    for x in maps:
        assert set(torch.unique(x).tolist()) <= set((codes / quantizers.levels(bits)).tolist())
    for weight in weights:
        assert set(torch.unique(weight).tolist()) <= set(quantizers.code_values(codes, bits).tolist())


def test_pooling_takes_the_largest_dot_product_before_the_norm() -> None:
    """Also where the norm's scale is negative: the largest dot product then gives the smallest value."""
    model = network(32, topologies.UNEVEN)
    layer = model.layers()[0]
    with torch.no_grad():
        layer.norm.weight.fill_(-1.0)
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    dots = functional.conv2d(x, layer.weight)[:, :, :27, :27].unflatten(3, (9, 3)).unflatten(2, (9, 3))
    scale, offset = layers.affine(layer.norm)
    expected = dots.amax(dim=(3, 5)) * scale[:, None, None] + offset[:, None, None]
    assert torch.equal(layer(x), expected)
    assert bool((scale < 0).all())


def first_norm(model: ConvNet) -> nn.BatchNorm2d:
    layer = model.blocks[0]
    assert isinstance(layer, NormedConvolution)
    return layer.norm


@pytest.mark.parametrize(
    ("bits", "number"),
    [(16, float("nan")), (32, float("nan")), (16, 65520.0), (32, float("inf")), (1, float("nan")), (2, float("nan"))],
)
def test_a_weight_that_is_not_finite_is_not_published(bits: int, number: float) -> None:
    model = network(bits)
    with torch.no_grad():
        model.head.weight[1, 2, 2, 0] = number
    with pytest.raises(NonFiniteError, match=r"head\.weight"):
        publish(model, epoch=1)


@pytest.mark.parametrize("number", [-0.1, 0.0, float("nan")])
def test_a_learned_step_that_is_not_positive_is_not_published(number: float) -> None:
    model = network(4, learned_step=True)
    with torch.no_grad():
        model.layers()[1].steps["activation"].fill_(number)
    with pytest.raises(NonFiniteError, match=r"epoch 2: .* blocks\.1\.steps\.activation is .*, expected above 0"):
        publish(model, epoch=2)


@pytest.mark.parametrize("name", NORM_STATE)
@pytest.mark.parametrize(("bits", "number"), [(1, float("nan")), (32, float("inf")), (16, 65520.0)])
def test_a_norm_that_is_not_finite_is_not_published(name: str, bits: int, number: float) -> None:
    model = network(bits)
    getattr(first_norm(model), name).data[3] = number
    with pytest.raises(NonFiniteError) as caught:
        publish(model, epoch=1)
    assert f"not finite as stored: blocks.0.norm.{name} (" in str(caught.value)


def test_first_kernels_are_those_of_the_network_with_their_planes_side_by_side() -> None:
    model = network(1)
    kernels = first_kernels(publish(model, epoch=1), number=5)
    signs = torch.where(model.layers()[0].weight[:5] >= 0, 1.0, -1.0)
    assert kernels.shape == (5, 5, 10)
    assert kernels.dtype == np.float32
    assert kernels[:, :, :5].tolist() == signs[:, 0].tolist()
    assert kernels[:, :, 5:].tolist() == signs[:, 1].tolist()
    assert len(first_kernels(publish(model, epoch=1), number=9)) == 6
