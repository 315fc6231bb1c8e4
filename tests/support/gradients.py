"""What a quantizer gives, forward and backward. The upstream gradient is 3, so a lost or squared factor shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bnnlib.config.spec import Quantization
from bnnlib.nn import widths
from bnnlib.nn.widths import Quantizer

UPSTREAM = 3.0
EPS = 2.0**-23  # the step of float32 above 1
TINY = 2.0**-149  # the smallest float32 above 0
INF = math.inf


def of(bits: int, **choices: Any) -> Quantizer:
    """The quantizer of a width; choices: see `Quantization`."""
    return widths.of(Quantization.model_validate({"bits": bits, **choices}))


def run(function: Callable[[Tensor], Tensor], values: list[float]) -> tuple[Tensor, list[float]]:
    """Output, and the gradient at the input."""
    x = torch.tensor(values, requires_grad=True)
    y = function(x)
    y.backward(torch.full_like(y, UPSTREAM))
    assert x.grad is not None
    return y.detach(), x.grad.tolist()
