"""Hold the metrics to the thresholds of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bnnlib.errors import BnnError
from bnnlib.params import Params, Thresholds


class GateError(BnnError):
    """A threshold is missed, or it or its metric is missing or no number."""


@dataclass(frozen=True)
class Verdict:
    """One metric beside its bound."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound; a value that is no number never does."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'ok    ' if self.passed else 'MISSED'} {self.name}: {self.value:.6f} (bound {sign} {self.bound})"


def thresholds(cfg: Params) -> Thresholds:
    """The thresholds of the data set that the parameters name; `GateError` where it has none."""
    found: Thresholds | None = getattr(cfg.thresholds, cfg.data.name)
    if found is None:
        raise GateError(
            f"thresholds.{cfg.data.name} is null in the parameters, so there is nothing to hold the metrics to; "
            "write bounds there, as thresholds.mnist has them"
        )
    return found


def verdicts(metrics: Mapping[str, Any], thresholds: Thresholds) -> list[Verdict]:
    """Each threshold with the metric it bounds; `GateError` names a metric that is missing or no number."""
    found = []
    for variant, bounds in thresholds.model_dump().items():
        for metric, bound in bounds.items():
            name = f"{variant}.test.{metric}"
            found.append(Verdict(name, _value(metrics, name), bound, at_least=metric == "macro_f1"))
    return found


def _value(metrics: Mapping[str, Any], name: str) -> float:
    value: Any = metrics
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise GateError(f"metric {name} is missing; `dvc repro evaluate` writes it")
        value = value[step]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GateError(f"metric {name} is {value!r}, expected a number; `dvc repro evaluate` writes it")
    return float(value)
