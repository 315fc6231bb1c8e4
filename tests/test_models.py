"""The networks: shapes, sizes, exact values inside, and the published form against the latent one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnnlib import convolution, mnist, models, quantizers
from bnnlib.layers import NORM_STATE, NormedConvolution
from bnnlib.models import ConvNet
from bnnlib.params import Bits, Quantization

WIDTHS = [1, 2, 4, 8, 16, 32]
IMAGES = torch.randint(0, 256, (6, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def network(bits: Bits, **choices: Any) -> ConvNet:
    """A network in evaluation mode whose batch norms differ from the identity, some of negative scale."""
    torch.manual_seed(bits)
    model = ConvNet(Quantization(bits=bits, **choices))
    with torch.no_grad():
        for layer in model.layers():
            layer.norm.weight.normal_()
            layer.norm.bias.normal_()
    model.train()
    model(IMAGES)  # moves the running statistics
    return model.eval()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("training", [True, False])
def test_output_shape(bits: int, training: bool) -> None:
    logits = network(bits).train(training)(IMAGES)
    assert (logits.shape, logits.dtype) == ((6, 10), torch.float32)


@pytest.mark.parametrize(("bits", "size"), [(1, 6_964), (2, 13_928), (8, 55_712), (16, 111_424), (32, 222_848)])
def test_sizes(bits: int, size: int) -> None:
    # 9 * 9 * (32 + 32 * 16 + 16 * 8) + 4 * 4 * 8 * 10
    assert models.weight_count(ConvNet(Quantization(bits=bits))) == 55_712
    assert models.weight_bytes(ConvNet(Quantization(bits=bits))) == size


def test_kernels_and_channels() -> None:
    assert [tuple(layer.weight.shape) for layer in ConvNet(Quantization(bits=1)).layers()] == [
        (32, 1, 9, 9),
        (16, 32, 9, 9),
        (8, 16, 9, 9),
        (10, 8, 4, 4),
    ]


@torch.inference_mode()
def logits_of(model: ConvNet) -> Tensor:
    return model(IMAGES)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 32])
def test_the_published_network_gives_the_same_logits_bit_for_bit(bits: int) -> None:
    model = network(bits)
    restored = models.restore(models.publish(model, epoch=1))
    assert not restored.training
    assert torch.equal(logits_of(restored), logits_of(model))


@pytest.mark.parametrize("compiled", [True, False])
def test_the_published_network_has_its_own_input_threshold(compiled: bool) -> None:
    published = models.publish(network(1, input_threshold=200), epoch=1)
    other = replace(published, tensors={**published.tensors, "input.threshold": torch.tensor(34, dtype=torch.int16)})
    lit = (IMAGES >= 200) * torch.tensor(255, dtype=torch.uint8)  # the same to both
    of_200, of_34 = (models.restore(each, compiled=compiled) for each in (published, other))
    assert torch.equal(of_200(IMAGES), of_34(lit))
    assert not torch.equal(of_200(IMAGES), of_34(IMAGES))


FOLDED: list[tuple[Bits, str]] = [(1, "channel_scale"), (2, "learned_step"), (4, "learned_step"), (8, "learned_step")]


@pytest.mark.parametrize(("bits", "choice"), FOLDED)
def test_scales_and_learned_steps_fold_into_the_published_norms(bits: Bits, choice: str) -> None:
    model = network(bits, **{choice: True})
    with torch.no_grad():
        for number, (name, step) in enumerate(model.named_parameters()):
            if name.endswith("_step"):
                step.mul_(1.1 + number / 50)  # each its own
    published = models.publish(model, epoch=1)
    assert published.tensors.keys() == models.layout(bits).keys()
    logits, folded = logits_of(model), logits_of(models.restore(published))
    plain = ConvNet(Quantization(bits=bits)).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    # They are a few roundings of float32 apart. Among 8 bits' 256 steps and 16,000 activations some lie so near an edge
    # that this decides, and each moves the logits by a little.
    assert (folded - logits).abs().max() < (0.3 if bits == 8 else 1e-4)
    assert (logits_of(plain) - logits).abs().max() > 2  # without the choice


def round_norms_to_half(model: ConvNet) -> None:
    for layer in model.layers():
        for name in NORM_STATE:
            tensor = getattr(layer.norm, name)
            tensor.data.copy_(tensor.half().float())


def test_the_published_16_bit_network_too_where_its_norms_are_half_values() -> None:
    model = network(16)
    published = models.publish(model, epoch=1)
    assert not torch.equal(logits_of(models.restore(published)), logits_of(model))  # the norms are rounded
    round_norms_to_half(model)
    assert torch.equal(logits_of(models.restore(published)), logits_of(model))


def test_publishing_copies() -> None:
    model = network(32)
    published = models.publish(model, epoch=1)
    before = {name: tensor.clone() for name, tensor in published.tensors.items()}
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in published.tensors.items())


@torch.no_grad()
def values_met(model: ConvNet, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], list[Tensor]]:
    """Maps that enter the four convolutions, and the weights that these use, training or not."""
    maps, weights = [], []

    def watch(name: str) -> None:
        real = getattr(convolution, name)

        def spy(x: Tensor, weight: Tensor, **options: bool) -> Tensor:
            maps.append(x)
            weights.append(weight)
            return real(x, weight, **options)

        monkeypatch.setattr(convolution, name, spy)

    watch("convolve")
    watch("convolve_fast")
    monkeypatch.setattr(model, "compiled", False)  # the kernels have no such values
    model(IMAGES)
    assert len(maps) == 4
    return maps, weights


@pytest.mark.parametrize("training", [True, False])
def test_all_values_of_the_binary_network_are_minus_one_or_one(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, weights = values_met(network(1).train(training), monkeypatch)
    assert [tuple(x.shape) for x in maps] == [(6, 28, 28, 1), (6, 20, 20, 32), (6, 12, 12, 16), (6, 4, 4, 8)]
    for tensor in maps + weights:
        assert torch.unique(tensor).tolist() == [-1, 1]


def is_half(tensor: Tensor) -> bool:
    return torch.equal(tensor, tensor.half().float())


@pytest.mark.parametrize("training", [True, False])
def test_all_values_of_the_16_bit_network_are_half_values(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(16).train(training)
    assert not any(is_half(layer.weight) for layer in model.layers())  # the latent ones are not
    maps, weights = values_met(model, monkeypatch)
    for tensor in maps + weights:
        assert is_half(tensor)
        assert len(torch.unique(tensor)) > 100


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_all_values_between_lie_on_their_grid(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, weights = values_met(network(bits).train(), monkeypatch)
    codes = torch.arange(2**bits)
    for x in maps:
        assert set(torch.unique(x).tolist()) <= set((codes / quantizers.levels(bits)).tolist())
    for weight in weights:
        assert set(torch.unique(weight).tolist()) <= set(quantizers.code_values(codes, bits).tolist())


@pytest.mark.parametrize("threshold", [1, 34, 128, 255])
def test_prepare_of_one_bit_compares_with_the_input_threshold(threshold: int) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    expected = [1 if pixel >= threshold else -1 for pixel in range(256)]
    assert models.prepare(pixels, Quantization(bits=1, input_threshold=threshold)).tolist() == expected


# 0.25 * 255 = 63.75: 63 and 64 lie on both sides of no grid point, 42 and 43 on both sides of 0.5 / 3
@pytest.mark.parametrize(
    ("bits", "pixels", "codes"),
    [(2, [0, 42, 43, 127, 128, 212, 213, 255], [0, 0, 1, 1, 2, 2, 3, 3]), (8, [0, 1, 254, 255], [0, 1, 254, 255])],
)
def test_prepare_of_a_few_bits(bits: int, pixels: list[int], codes: list[int]) -> None:
    expected = torch.tensor(codes) / (2**bits - 1)
    assert (
        models.prepare(torch.tensor(pixels, dtype=torch.uint8), Quantization(bits=bits)).tolist() == expected.tolist()
    )


def test_prepare_of_many_bits_normalises() -> None:
    pixels = torch.tensor([0, 100, 255], dtype=torch.uint8)
    expected = [(pixel / 255 - mnist.MEAN) / mnist.STD for pixel in (0, 100, 255)]
    # Three roundings of 2**-24 of numbers below 2.9; the difference is no smaller than a third of its terms.
    assert models.prepare(pixels, Quantization(bits=32)).tolist() == pytest.approx(expected, rel=6 * 2**-24)
    assert models.prepare(pixels, Quantization(bits=16)).tolist() == [float(np.float16(value)) for value in expected]


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
        model.head.weight[1, 2, 3, 0] = number
    with pytest.raises(models.NonFiniteError, match=r"head\.weight"):
        models.publish(model, epoch=1)


@pytest.mark.parametrize("name", NORM_STATE)
@pytest.mark.parametrize(("bits", "number"), [(1, float("nan")), (32, float("inf")), (16, 65520.0)])
def test_a_norm_that_is_not_finite_is_not_published(name: str, bits: int, number: float) -> None:
    model = network(bits)
    getattr(first_norm(model), name).data[3] = number
    with pytest.raises(models.NonFiniteError) as caught:
        models.publish(model, epoch=1)
    assert f"not finite as stored: blocks.0.norm.{name} (" in str(caught.value)


def test_first_kernels_are_those_the_network_uses() -> None:
    model = network(1)
    kernels = models.first_kernels(models.publish(model, epoch=1), number=5)
    expected = torch.where(model.layers()[0].weight[:5, 0] >= 0, 1.0, -1.0)
    assert kernels.shape == (5, 9, 9)
    assert kernels.dtype == np.float32
    assert kernels.tolist() == expected.tolist()
