"""The optimizers of a training: Adam, or Bop for the weights of a 1-bit network and Adam for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from bnnlib.models import ConvNet
from bnnlib.params import Training


class Bop(Optimizer):
    """Flip signs where a moving average of the gradient asks for it long enough (arXiv:1906.02107).

    m = (1 - lr) m + lr g; then w = -w where abs(m) > threshold and sign(m) = sign(w). ``lr`` is the paper's adaptivity
    rate. There are no latent weights: a weight's magnitude stays what it was at the start and means nothing.
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


def build(model: ConvNet, cfg: Training) -> list[Optimizer]:
    """The optimizers of a network's parameters, each with its peak learning rates.

    Weight decay acts on convolution weights alone, not on batch norm nor on learned steps, nor on Bop's weights.
    """
    weights = [layer.weight for layer in model.layers()]
    others = [parameter for parameter in model.parameters() if all(parameter is not weight for weight in weights)]
    groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0}]
    if cfg.bop is None:
        groups.insert(0, {"params": weights, "weight_decay": cfg.recipe.weight_decay})
    adam = torch.optim.Adam(groups, lr=cfg.recipe.learning_rate, fused=True)
    return [adam] if cfg.bop is None else [adam, Bop(weights, cfg.bop.rate, cfg.bop.threshold)]


def schedule(optimizer: Optimizer, epochs: int, steps: int) -> OneCycleLR:
    """The one-cycle schedule (arXiv:1708.07120) from a 25th of the peak to the peak and down to nothing."""
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    cycles_momentum = "betas" in optimizer.defaults
    return OneCycleLR(optimizer, max_lr=peaks, epochs=epochs, steps_per_epoch=steps, cycle_momentum=cycles_momentum)
