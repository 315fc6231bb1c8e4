"""Quantizers of 2, 4 and 8 bits, DoReFa's and those with a learned step, against tables worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from support.gradients import EPS, INF, TINY, UPSTREAM, of, run
from torch import Tensor

from bnnlib.nn import quantizers

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
    y, gradient = run(lambda w: of(bits).weight(w, {}), latent)
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
    y, gradient = run(lambda x: of(bits).activation(x, {}, 0.0), x)
    expected = torch.tensor([row[column] for row in ACTIVATION]) / (2**bits - 1)
    assert y.tolist() == expected.tolist()
    assert gradient == [UPSTREAM * row[4] for row in ACTIVATION]
    assert quantizers.uniform(torch.tensor(x), bits).tolist() == expected.tolist()


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
