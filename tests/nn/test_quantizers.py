"""Every quantizer against a table worked by hand. The upstream gradient is 3, so a lost or squared factor shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from bnnlib.config import params
from bnnlib.nn import quantizers

UPSTREAM = 3.0
EPS = 2.0**-23  # the step of float32 above 1
TINY = 2.0**-149  # the smallest float32 above 0
INF = math.inf


def run(function: Callable[[Tensor], Tensor], values: list[float]) -> tuple[Tensor, list[float]]:
    """Output, and the gradient at the input."""
    x = torch.tensor(values, requires_grad=True)
    y = function(x)
    y.backward(torch.full_like(y, UPSTREAM))
    assert x.grad is not None
    return y.detach(), x.grad.tolist()


def is_negative(y: Tensor) -> list[bool]:
    """Sign bits: -0.0 == 0.0, so only these tell the two apart."""
    return torch.signbit(y).tolist()


# x, sign, slope of the straight-through estimator
SIGN = [
    (-INF, -1, 0),
    (-1.5, -1, 0),
    (-1 - EPS, -1, 0),
    (-1.0, -1, 1),
    (-1 + EPS, -1, 1),
    (-0.25, -1, 1),
    (-TINY, -1, 1),
    (-0.0, 1, 1),
    (0.0, 1, 1),
    (TINY, 1, 1),
    (0.25, 1, 1),
    (1 - EPS, 1, 1),
    (1.0, 1, 1),
    (1 + EPS, 1, 0),
    (1.5, 1, 0),
    (INF, 1, 0),
]


@pytest.mark.parametrize("function", [lambda x: quantizers.sign(x, "ste"), lambda x: quantizers.quantize_weight(x, 1)])
def test_sign(function: Callable[[Tensor], Tensor]) -> None:
    x, signs, slopes = map(list, zip(*SIGN, strict=True))
    y, gradient = run(function, x)
    assert y.tolist() == signs
    assert gradient == [UPSTREAM * slope for slope in slopes]
    assert quantizers.signs(torch.tensor(x)).tolist() == signs
    assert quantizers.sign_codes(torch.tensor(x)).tolist() == [(sign + 1) // 2 for sign in signs]


# x, slope of ApproxSign: 2 - 2 abs(x) inside [-1, 1]
APPROX = [(-INF, 0), (-1.5, 0), (-1 - EPS, 0), (-1.0, 0), (-0.75, 0.5), (-0.0, 2), (0.0, 2), (0.25, 1.5), (1.0, 0)]
APPROX += [(1 + EPS, 0), (1.5, 0), (INF, 0)]


def test_slope_of_approx_sign() -> None:
    y, gradient = run(lambda x: quantizers.sign(x, "approx", 0.5), [x for x, _ in APPROX])
    assert y.tolist() == [1 if x >= 0 else -1 for x, _ in APPROX]
    assert gradient == [UPSTREAM * slope for _, slope in APPROX]


# x = b / 5, slope 5 (2 - b tanh(b / 2)) / (1 + cosh(b)). For b = ln 4 the tanh is 3/5 and the cosh 17/8, for b = ln 9
# they are 4/5 and 41/9; the slope is zero where b tanh(b / 2) = 2.
SWISH = [
    (0.0, 5.0),
    (-0.0, 5.0),
    (math.log(4) / 5, 5 * (2 - 0.6 * math.log(4)) / (1 + 17 / 8)),
    (math.log(9) / 5, 5 * (2 - 0.8 * math.log(9)) / (1 + 41 / 9)),
    (2.3993572805 / 5, 0.0),
    (20.0, 0.0),
    (1e30, 0.0),
]


@pytest.mark.parametrize("side", [1, -1])
def test_slope_of_swish_sign(side: int) -> None:
    y, gradient = run(lambda x: quantizers.sign(x, "swish", 0.5), [side * x for x, _ in SWISH])
    assert y.tolist() == [1 if side * x >= 0 else -1 for x, _ in SWISH]
    assert gradient == pytest.approx([UPSTREAM * slope for _, slope in SWISH], rel=1e-5, abs=1e-6)  # some float32 steps


# progress, x, slope: t is 0.1, 1, 10 and k t is 1, 1, 10; tanh(ln 2) = 3/5, so the slope there is 16/25 of k t.
ANNEALED = [
    (0.0, 0.0, 1.0),
    (0.0, 10 * math.log(2), 0.64),
    (0.5, 0.0, 1.0),
    (0.5, math.log(2), 0.64),
    (1.0, 0.0, 10.0),
    (1.0, math.log(2) / 10, 6.4),
    (1.0, 5.0, 0.0),
]


@pytest.mark.parametrize(("progress", "x", "slope"), ANNEALED)
@pytest.mark.parametrize("side", [1, -1])
def test_slope_of_the_temperature_scheduled_surrogate(side: int, progress: float, x: float, slope: float) -> None:
    _, gradient = run(lambda value: quantizers.sign(value, "annealed", progress), [side * x])
    assert gradient == pytest.approx([UPSTREAM * slope], rel=1e-5)


def test_the_parameter_names_every_surrogate() -> None:
    assert get_args(params.Surrogate) == tuple(quantizers.SURROGATES)


@pytest.mark.parametrize("surrogate", quantizers.SURROGATES)
def test_activations_follow_the_surrogate(surrogate: str) -> None:
    values = [-0.5, 0.25, 0.75]
    expected = run(lambda x: quantizers.sign(x, surrogate, 0.7), values)[1]
    assert run(lambda x: quantizers.quantize_activation(x, 1, surrogate, 0.7), values)[1] == expected


# x, the nearest half value; the slope is 1 everywhere. Halves have 10 bits after the point: steps of 2**-10 above 1,
# 32 above 32768 (largest value 65504), 2**-24 near 0.
HALF = [
    (0.1, 0.0999755859375),  # 1638 / 16384
    (1 + 2.0**-11, 1.0),  # a tie goes to the even neighbour: down here,
    (1 + 3 * 2.0**-11, 1 + 2.0**-9),  # up here
    (1 + 2.0**-11 + EPS, 1 + 2.0**-10),
    (2.0**-24, 2.0**-24),
    (2.0**-25, 0.0),
    (3 * 2.0**-26, 2.0**-24),
    (65504.0, 65504.0),
    (65519.99609375, 65504.0),  # the largest float32 below the kink
    (65520.0, INF),
    (1e30, INF),
    (0.0, 0.0),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("function", [quantizers.half, lambda x: quantizers.quantize_weight(x, 16)])
def test_half(function: Callable[[Tensor], Tensor], sign: int) -> None:
    y, gradient = run(function, [sign * x for x, _ in HALF])
    assert y.dtype == torch.float32
    assert y.tolist() == [sign * expected for _, expected in HALF]
    assert is_negative(y) == [sign < 0] * len(HALF)
    assert gradient == [UPSTREAM] * len(HALF)


# t = tanh(w), codes at 2, 4 and 8 bits, slope. The largest abs(t) is 0.8, so p = t / 1.6 + 1/2 is 0, 0.125, 0.375, 0.5,
# 0.625, 0.875, 1; the code is round((2**k - 1) * p), ties to even, and the slope is (1 - t**2) / 0.8.
WEIGHT = [
    (-0.8, 0, 0, 0, 0.45),
    (-0.6, 0, 2, 32, 0.8),  # 0.375, 1.875, 31.875
    (-0.2, 1, 6, 96, 1.2),  # 1.125, 5.625, 95.625
    (-0.0, 2, 8, 128, 1.25),  # 1.5, 7.5, 127.5
    (0.0, 2, 8, 128, 1.25),
    (0.2, 2, 9, 159, 1.2),  # 1.875, 9.375, 159.375
    (0.6, 3, 13, 223, 0.8),  # 2.625, 13.125, 223.125
    (0.8, 3, 15, 255, 0.45),
]
COLUMN = {2: 1, 4: 2, 8: 3}


# Without one end the weights do not cancel, so a gradient through the maximum would show.
@pytest.mark.parametrize("rows", [WEIGHT[1:], WEIGHT[:-1]], ids=["positive peak", "negative peak"])
@pytest.mark.parametrize("bits", COLUMN)
def test_dorefa_weight(bits: int, rows: list[tuple[float, ...]]) -> None:
    latent = [math.copysign(math.atanh(abs(t)), t) for t, *_ in rows]
    codes = [row[COLUMN[bits]] for row in rows]
    y, gradient = run(lambda w: quantizers.quantize_weight(w, bits), latent)
    assert quantizers.dorefa_codes(torch.tensor(latent), bits).tolist() == codes
    # One rounding each for the division by the levels and the difference: values up to 2, so 2 * 2**-23 at most.
    assert y.tolist() == pytest.approx([2 * code / (2**bits - 1) - 1 for code in codes], abs=2**-22)
    # About ten roundings of 2**-24 each; 1 - t**2 enlarges that of t by 2 t**2 / (1 - t**2), at most 3.6 times.
    assert gradient == pytest.approx([UPSTREAM * row[4] for row in rows], rel=36 * 2**-24)


@pytest.mark.parametrize("bits", COLUMN)
def test_dorefa_weights_that_are_all_zero_take_the_middle_code(bits: int) -> None:
    assert quantizers.dorefa_codes(torch.tensor([0.0, -0.0]), bits).tolist() == [2 ** (bits - 1)] * 2


@pytest.mark.parametrize("bits", COLUMN)
def test_code_values_reach_from_minus_one_to_one(bits: int) -> None:
    values = quantizers.code_values(torch.arange(2**bits, dtype=torch.uint8), bits)
    assert values.dtype == torch.float32
    assert (values[0].item(), values[-1].item()) == (-1, 1)
    assert len(set(values.tolist())) == 2**bits
    assert quantizers.code_values(torch.tensor([0, 1], dtype=torch.uint8), 1).tolist() == [-1, 1]


# x, codes at 2, 4 and 8 bits, slope
ACTIVATION = [
    (-INF, 0, 0, 0, 0),
    (-0.5, 0, 0, 0, 0),
    (-TINY, 0, 0, 0, 0),
    (-0.0, 0, 0, 0, 1),
    (0.0, 0, 0, 0, 1),
    (TINY, 0, 0, 0, 1),
    (0.125, 0, 2, 32, 1),  # 0.375, 1.875, 31.875
    (1 / 6, 0, 2, 42, 1),  # 0.5, 2.5, 42.5: ties to even, down here
    (0.25, 1, 4, 64, 1),  # 0.75, 3.75, 63.75
    (0.5, 2, 8, 128, 1),  # 1.5, 7.5, 127.5: up here
    (0.875, 3, 13, 223, 1),  # 2.625, 13.125, 223.125
    (1 - EPS, 3, 15, 255, 1),
    (1.0, 3, 15, 255, 1),
    (1 + EPS, 3, 15, 255, 0),
    (7.0, 3, 15, 255, 0),
]


@pytest.mark.parametrize(("bits", "column"), COLUMN.items())
def test_dorefa_activation(bits: int, column: int) -> None:
    x = [row[0] for row in ACTIVATION]
    y, gradient = run(lambda x: quantizers.quantize_activation(x, bits), x)
    expected = torch.tensor([row[column] for row in ACTIVATION]) / (2**bits - 1)
    assert y.tolist() == expected.tolist()
    assert gradient == [UPSTREAM * row[4] for row in ACTIVATION]
    assert quantizers.uniform(torch.tensor(x), bits).tolist() == expected.tolist()


# x, ReLU in float32, ReLU in half, slope
RELU = [
    (-2.0, 0.0, 0.0, 0),
    (-TINY, 0.0, 0.0, 0),
    (-0.0, 0.0, 0.0, 0),
    (0.0, 0.0, 0.0, 0),
    (TINY, TINY, 0.0, 1),
    (0.5, 0.5, 0.5, 1),
    (1 + 2.0**-11, 1 + 2.0**-11, 1.0, 1),
    (65520.0, 65520.0, INF, 1),
]


@pytest.mark.parametrize(("bits", "column"), [(32, 1), (16, 2)])
def test_relu(bits: int, column: int) -> None:
    y, gradient = run(lambda x: quantizers.quantize_activation(x, bits), [row[0] for row in RELU])
    assert y.tolist() == [row[column] for row in RELU]
    assert gradient == [UPSTREAM * row[3] for row in RELU]


def test_activation_of_one_bit_is_the_sign() -> None:
    y, gradient = run(lambda x: quantizers.quantize_activation(x, 1), [row[0] for row in SIGN])
    assert y.tolist() == [row[1] for row in SIGN]
    assert gradient == [UPSTREAM * row[2] for row in SIGN]


def test_weights_of_32_bits_are_the_latent_ones() -> None:
    w = torch.tensor([0.1, -3.0], requires_grad=True)
    assert quantizers.quantize_weight(w, 32) is w


# LSQ with step 0.5: x, code and slope in x and in the step of weights at 2 bits. Values are step * (code - 3 / 2).
# Inside, the slope in the step is code - 3 / 2 - x / step.
LSQ_WEIGHT = [
    (-2.0, 0, 0, -1.5),
    (-0.8, 0, 0, -1.5),
    (-0.75, 0, 1, 0.0),
    (-0.6, 0, 1, -0.3),
    (-0.25, 1, 1, 0.0),
    (-0.1, 1, 1, -0.3),
    (0.0, 2, 1, 0.5),
    (0.1, 2, 1, 0.3),
    (0.7, 3, 1, 0.1),
    (0.8, 3, 0, 1.5),
]
# Activations at 2 bits: x, y / step, slope in x, slope in the step.
LSQ_ACTIVATION = [
    (-1.0, 0, 0, 0.0),
    (-0.0, 0, 1, 0.0),
    (0.2, 0, 1, -0.4),
    (0.3, 1, 1, 0.4),
    (0.9, 2, 1, 0.2),
    (1.5, 3, 1, 0.0),
    (1.6, 3, 0, 3.0),
]


def run_step(function: Callable[[Tensor, Tensor], Tensor], values: list[float]) -> tuple[Tensor, list[float], float]:
    """Output, and the gradients at the input and at a step of 0.5."""
    x, step = torch.tensor(values, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    y = function(x, step)
    y.backward(torch.full_like(y, UPSTREAM))
    assert x.grad is not None
    assert step.grad is not None
    return y.detach(), x.grad.tolist(), step.grad.item()


def test_learned_step_of_weights() -> None:
    x, codes, slopes, step_slopes = map(list, zip(*LSQ_WEIGHT, strict=True))
    y, gradient, step_gradient = run_step(lambda w, step: quantizers.lsq_weight(w, step, 2), x)
    assert y.tolist() == [0.5 * (code - 1.5) for code in codes]
    assert gradient == [UPSTREAM * slope for slope in slopes]
    assert step_gradient == pytest.approx(UPSTREAM * sum(step_slopes) / math.sqrt(len(x) * 1.5), rel=1e-6)
    assert quantizers.lsq_codes(torch.tensor(x), torch.tensor(0.5), 2).tolist() == codes
    assert (quantizers.code_values(torch.tensor(codes), 2) * 0.5 * 1.5).tolist() == pytest.approx(y.tolist(), rel=1e-6)


def test_learned_step_of_activations() -> None:
    x, places, slopes, step_slopes = map(list, zip(*LSQ_ACTIVATION, strict=True))
    y, gradient, step_gradient = run_step(lambda a, step: quantizers.lsq_activation(a, step, 2), x)
    assert y.tolist() == [0.5 * place for place in places]
    assert gradient == [UPSTREAM * slope for slope in slopes]
    assert step_gradient == pytest.approx(UPSTREAM * sum(step_slopes) / math.sqrt(len(x) * 3), rel=1e-6)


def test_steps_that_training_starts_from() -> None:
    assert quantizers.lsq_weight_step(torch.tensor([-3.0, 1.0]), 2).item() == pytest.approx(4 / math.sqrt(1.5))
    assert quantizers.lsq_activation_step(4).item() == pytest.approx(2 * 0.7978846 / math.sqrt(15))


def test_channel_scale() -> None:
    w = torch.tensor([[[[1.0, -2.0]]], [[[0.0, 0.5]]]], requires_grad=True)  # two channels of two weights
    scale = quantizers.channel_scale(w)
    scale.backward(torch.tensor([UPSTREAM, 2 * UPSTREAM]))
    assert scale.tolist() == [1.5, 0.25]
    assert w.grad is not None
    assert w.grad.flatten().tolist() == [UPSTREAM / 2, -UPSTREAM / 2, 0.0, UPSTREAM]
