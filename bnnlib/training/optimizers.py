"""The optimizers of a training: Adam for all, or for the weights Muon or (at 1 bit) Bop, and Adam for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from bnnlib.config import spec
from bnnlib.nn.convnet import ConvNet


class Bop(Optimizer):
    """Flip signs where a moving average of the gradient asks for it (arXiv:1906.02107).

    m = (1 - lr) m + lr g; then w = -w where abs(m) > threshold and sign(m) = sign(w). ``lr`` is the paper's adaptivity
    rate. There are no latent weights: the magnitude of a weight stays what it was at the start and has no meaning.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, threshold: float) -> None:
        super().__init__(params, {"lr": lr, "threshold": threshold})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Flip where due."""
        if closure is not None:
            raise NotImplementedError("Bop takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._flip(weight, weight.grad, group)

    def _flip(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if "average" not in state:
            state["average"] = torch.zeros_like(weight)
        average: Tensor = state["average"]
        average.lerp_(gradient, float(group["lr"]))
        wanted = (average.abs() > group["threshold"]) & ((average >= 0) == (weight >= 0))
        weight.copy_(torch.where(wanted, -weight, weight))


class Muon(Optimizer):
    """Momentum whose matrix of each layer is made orthogonal before the step (Muon, arXiv:2502.16982).

    A weight W counts as the matrix (out, in * k * k). B = mu B + (1 - mu) G; O = orthogonal(mu B + (1 - mu) G);
    W = (1 - lr * weight_decay) W - lr * sqrt(max(shape)) O. With that factor the root mean square of a step is about
    lr; the paper's 0.2, by which it is like Adam's, is part of the rate here. Torch's own Muon takes matrices only.
    """

    MOMENTUM = 0.95

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the weights."""
        if closure is not None:
            raise NotImplementedError("Muon takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - self.MOMENTUM)
        matrix = orthogonal(gradient.lerp(momentum, self.MOMENTUM).flatten(1))
        rate = float(group["lr"])
        weight.mul_(1 - rate * group["weight_decay"])
        weight.add_(matrix.view_as(weight), alpha=-rate * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all the same, near 1: (m, n), m <= n for speed.

    Five steps of the Newton-Schulz iteration of Muon (arXiv:2502.16982): X = a X + b (X X^T) X + c (X X^T)^2 X, which
    brings singular values from nearly 0 into 0.7 to 1.2 quickly, but no closer to 1.
    """
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.t()
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x


def build(model: ConvNet, recipe: spec.Recipe) -> list[Optimizer]:
    """The optimizers of a network's parameters, each with its peak learning rates.

    Weight decay acts on convolution weights alone, not on batch norm nor on learned steps, nor on Bop's weights. It is
    part of Adam's gradient, and a share of the step for Muon.
    """
    weights = [layer.weight for layer in model.layers()]
    others = [parameter for parameter in model.parameters() if all(parameter is not weight for weight in weights)]
    chosen = recipe.optimizer
    if isinstance(chosen, spec.Adam):
        return [_adam(chosen.rate, (weights, chosen.weight_decay), (others, 0.0))]
    rest = _adam(chosen.adam_rate, (others, 0.0))
    if isinstance(chosen, spec.Bop):
        return [rest, Bop(weights, chosen.rate, chosen.threshold)]
    return [rest, Muon(weights, chosen.rate, chosen.weight_decay)]


def _adam(rate: float, *groups: tuple[Sequence[Tensor], float]) -> Optimizer:
    """Adam for groups of parameters, each with its weight decay."""
    return torch.optim.Adam([{"params": each, "weight_decay": decay} for each, decay in groups], lr=rate, fused=True)


def schedule(optimizer: Optimizer, epochs: int, steps: int) -> OneCycleLR:
    """The one-cycle schedule (arXiv:1708.07120) from a 25th of the peak to the peak and down to nothing."""
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    cycles_momentum = "betas" in optimizer.defaults
    return OneCycleLR(optimizer, max_lr=peaks, epochs=epochs, steps_per_epoch=steps, cycle_momentum=cycles_momentum)
