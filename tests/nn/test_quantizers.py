"""Quantizers of 1 bit, with every surrogate, and of 16 and 32 bits, against tables worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from support.gradients import EPS, INF, TINY, UPSTREAM, of, run
from support.paths import ROOT
from torch import Tensor

from bnnlib.config import spec
from bnnlib.nn import quantizers

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


@pytest.mark.parametrize("function", [lambda x: quantizers.sign(x, "ste"), lambda x: of(1).weight(x, {})])
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


# Of every surrogate the table of its slopes. A new one needs a table and a test of it above.
TABLES = {"ste": SIGN, "approx": APPROX, "swish": SWISH, "annealed": ANNEALED}


def test_every_surrogate_is_a_value_of_the_parameter_and_has_a_table() -> None:
    assert get_args(spec.Surrogate) == tuple(quantizers.SURROGATES) == tuple(TABLES)
    comment = next(line for line in (ROOT / "params.yaml").read_text().splitlines() if "surrogate: " in line)
    assert all(name in comment.partition("#")[2] for name in quantizers.SURROGATES)


@pytest.mark.parametrize("surrogate", quantizers.SURROGATES)
def test_activations_follow_the_surrogate(surrogate: str) -> None:
    values = [-0.5, 0.25, 0.75]
    expected = run(lambda x: quantizers.sign(x, surrogate, 0.7), values)[1]
    assert run(lambda x: of(1, surrogate=surrogate).activation(x, {}, 0.7), values)[1] == expected


def is_negative(y: Tensor) -> list[bool]:
    """Sign bits: -0.0 == 0.0, so only these distinguish the two."""
    return torch.signbit(y).tolist()


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
@pytest.mark.parametrize("function", [quantizers.half, lambda x: of(16).weight(x, {})])
def test_half(function: Callable[[Tensor], Tensor], sign: int) -> None:
    y, gradient = run(function, [sign * x for x, _ in HALF])
    assert y.dtype == torch.float32
    assert y.tolist() == [sign * expected for _, expected in HALF]
    assert is_negative(y) == [sign < 0] * len(HALF)
    assert gradient == [UPSTREAM] * len(HALF)


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
    y, gradient = run(lambda x: of(bits).activation(x, {}, 0.0), [row[0] for row in RELU])
    assert y.tolist() == [row[column] for row in RELU]
    assert gradient == [UPSTREAM * row[3] for row in RELU]


def test_activation_of_one_bit_is_the_sign() -> None:
    y, gradient = run(lambda x: of(1).activation(x, {}, 0.0), [row[0] for row in SIGN])
    assert y.tolist() == [row[1] for row in SIGN]
    assert gradient == [UPSTREAM * row[2] for row in SIGN]


def test_weights_of_32_bits_are_the_latent_ones() -> None:
    w = torch.tensor([0.1, -3.0], requires_grad=True)
    assert of(32).weight(w, {}) is w


def test_channel_scale() -> None:
    w = torch.tensor([[[[1.0, -2.0]]], [[[0.0, 0.5]]]], requires_grad=True)  # two channels of two weights
    scale = quantizers.channel_scale(w)
    scale.backward(torch.tensor([UPSTREAM, 2 * UPSTREAM]))
    assert scale.tolist() == [1.5, 0.25]
    assert w.grad is not None
    assert w.grad.flatten().tolist() == [UPSTREAM / 2, -UPSTREAM / 2, 0.0, UPSTREAM]
