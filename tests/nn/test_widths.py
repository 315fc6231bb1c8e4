"""The quantizer of every width: which class, what enters, what it learns and stores. Arithmetic: test_quantizers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.gradients import of
from torch import Tensor

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Topology
from bnnlib.data import mnist
from bnnlib.nn import widths
from bnnlib.nn.convnet import ConvNet

HALF, FLOAT, CODES = torch.float16, torch.float32, torch.uint8
# Two channels of four latent weights: both signs, both zeros, the clip, and values that no grid but float32 holds.
WEIGHTS = torch.tensor([[0.1, -0.3, 0.0, 1.0], [-0.0, 0.7, -1.0, 0.2]]).reshape(2, 1, 2, 2)


class Width(NamedTuple):
    """A choice of quantization and what its quantizer has to be."""

    bits: int
    choices: dict[str, Any]
    kind: type[widths.Quantizer]
    weight_type: torch.dtype
    norm_type: torch.dtype
    binary: bool = False
    scaled: bool = False
    steps: tuple[str, ...] = ()
    real: tuple[bool, bool, bool] = (False, False, False)  # at progress 0, 0.5 and 1


WIDTHS = {
    "1": Width(1, {}, widths.BinaryQuantizer, CODES, FLOAT, binary=True),
    "1, scaled": Width(1, {"channel_scale": True}, widths.BinaryQuantizer, CODES, FLOAT, binary=True, scaled=True),
    "1, half real": Width(
        1, {"real_share": 0.5}, widths.BinaryQuantizer, CODES, FLOAT, binary=True, real=(True, False, False)
    ),
    "1, mostly real": Width(
        1, {"real_share": 0.75}, widths.BinaryQuantizer, CODES, FLOAT, binary=True, real=(True, True, False)
    ),
    "2": Width(2, {}, widths.UniformQuantizer, CODES, FLOAT),
    "4": Width(4, {}, widths.UniformQuantizer, CODES, FLOAT),
    "8": Width(8, {}, widths.UniformQuantizer, CODES, FLOAT),
    **{
        f"{bits}, learned step": Width(
            bits,
            {"learned_step": True},
            widths.LearnedStepQuantizer,
            CODES,
            FLOAT,
            scaled=True,
            steps=("weight", "activation"),
        )
        for bits in (2, 4, 8)
    },
    "16": Width(16, {}, widths.HalfQuantizer, HALF, HALF),
    "32": Width(32, {}, widths.Quantizer, FLOAT, FLOAT),
}
every_width = pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)


def quantizer_of(width: Width) -> widths.Quantizer:
    """The quantizer under test."""
    return of(width.bits, **width.choices)


@every_width
def test_each_width_has_its_quantizer(width: Width) -> None:
    quantizer = quantizer_of(width)
    assert type(quantizer) is width.kind
    assert quantizer.bits == width.bits
    assert (quantizer.weight_type, quantizer.norm_type) == (width.weight_type, width.norm_type)
    assert (quantizer.binary, quantizer.scaled) == (width.binary, width.scaled)


@every_width
def test_only_learned_steps_are_learned_besides_the_weights(width: Width) -> None:
    quantizer = quantizer_of(width)
    hidden, head = (quantizer.steps(WEIGHTS, activated=activated) for activated in (True, False))
    assert tuple(hidden) == width.steps
    assert tuple(head) == width.steps[:1]  # no activation behind the head, so no step for it
    assert all(step.shape == () and step > 0 for step in hidden.values())
    activation_scale = quantizer.activation_scale(hidden)
    assert (activation_scale is not None) == bool(width.steps)
    assert quantizer.activation_scale(head) is None


@every_width
def test_latent_weights_are_real_only_before_the_real_share_is_over(width: Width) -> None:
    quantizer = quantizer_of(width)
    assert tuple(quantizer.is_real(progress) for progress in (0.0, 0.5, 1.0)) == width.real


@every_width
def test_published_weights_times_their_scale_are_those_of_the_forward_pass(width: Width) -> None:
    quantizer = quantizer_of(width)
    steps = quantizer.steps(WEIGHTS, activated=True)
    stored = quantizer.stored(WEIGHTS, steps)
    restored = quantizer.restored(stored)
    used = quantizer.weight(WEIGHTS, steps)
    assert stored.dtype == width.weight_type
    assert restored.dtype == used.dtype == FLOAT
    if not width.scaled:
        assert restored.equal(used)
    factor = quantizer.channel_factor(WEIGHTS)
    assert (factor is not None) == bool(width.choices.get("channel_scale"))
    expected = used if factor is None else used * _by_channel(factor)
    # Values are at most the scale. The value of a code rounds by 1.5 * 2**-24 at most, the scale, its product with the
    # value, and the step times the place by 2**-24 each.
    scale = _by_channel(quantizer.weight_scale(WEIGHTS, steps))
    assert ((restored * scale - expected).abs() <= 4.5 * 2**-24 * scale).all()


def _by_channel(scale: Tensor) -> Tensor:
    return scale.reshape(-1, 1, 1, 1)


@every_width
def test_stored_weights_are_a_copy(width: Width) -> None:
    quantizer = quantizer_of(width)
    stored = quantizer.stored(WEIGHTS, quantizer.steps(WEIGHTS, activated=True))
    assert stored.data_ptr() != WEIGHTS.data_ptr()


@every_width
def test_only_one_bit_keeps_the_input_thresholds(width: Width) -> None:
    topology = Topology.model_validate({"input": [64, 128], "blocks": [{"channels": 3, "kernel": 3, "pool": 2}]})
    kept = quantizer_of(width).topology(topology)
    assert kept.input == ((64, 128) if width.bits == 1 else ())
    assert kept.blocks == topology.blocks


def test_one_bit_without_input_thresholds_is_refused_when_the_network_is_built() -> None:
    with pytest.raises(widths.TopologyError, match=r"topology: input: \(\), expected pixel thresholds at 1 bit"):
        ConvNet(Topology(input=(), blocks=()), Quantization(bits=1))


def test_a_share_with_real_weights_is_a_share() -> None:
    with pytest.raises(ValidationError, match="real_share"):
        Quantization(bits=1, real_share=1.5)


def test_the_input_of_one_bit_gives_a_plane_for_each_threshold() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    thresholds = [1, 34, 128, 255]
    planes = of(1).input(pixels, torch.tensor(thresholds, dtype=torch.float32))
    assert (planes.shape, planes.dtype) == ((1, 4, 16, 16), torch.float32)
    expected = [[1 if pixel >= threshold else -1 for pixel in range(256)] for threshold in thresholds]
    assert planes[0].flatten(1).tolist() == expected


def prepared(pixels: list[int], bits: int) -> list[float]:
    """Pixels as the input of a network wider than 1 bit."""
    images = torch.tensor(pixels, dtype=torch.uint8).view(1, 1, -1)
    return list(of(bits).input(images, torch.empty(0)).flatten().tolist())


# At 2 bits the ties between codes are at 42.5, 127.5 and 212.5; a pixel on each side of each.
@pytest.mark.parametrize(
    ("bits", "pixels", "codes"),
    [(2, [0, 42, 43, 127, 128, 212, 213, 255], [0, 0, 1, 1, 2, 2, 3, 3]), (8, [0, 1, 254, 255], [0, 1, 254, 255])],
)
def test_the_input_of_a_few_bits(bits: int, pixels: list[int], codes: list[int]) -> None:
    expected = torch.tensor(codes) / (2**bits - 1)
    assert prepared(pixels, bits) == expected.tolist()


def test_the_input_of_many_bits_normalises() -> None:
    pixels = [0, 100, 255]
    expected = [(pixel / 255 - mnist.MEAN) / mnist.STD for pixel in pixels]
    # Three roundings of 2**-24 of numbers below 2.9; the difference is no smaller than a third of its terms.
    assert prepared(pixels, 32) == pytest.approx(expected, rel=6 * 2**-24)
    assert prepared(pixels, 16) == [float(np.float16(value)) for value in expected]
