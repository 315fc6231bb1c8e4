"""Check the metrics against the thresholds of params.yaml, and that the engines of the packed network agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnlib.config.params import Params, Thresholds
from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.data import mnist

LOWER_IS_BETTER = {"loss"}  # the bound of any other metric is the least allowed
# What the stage `agreement` compares.
PAIRS = ("torch and reference", "torch and fast", "reference and fast")


class ThresholdError(BnnError):
    """A bound is missed, the data set has none, or a metric is missing or not a number."""


@dataclass(frozen=True)
class Verdict:
    """One metric beside its bound."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound; NaN never does."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        value = f"{self.value:.6f}" if isinstance(self.value, float) else self.value
        return f"{'ok    ' if self.passed else 'MISSED'} {self.name}: {value} (bound {sign} {self.bound})"


def of_data_set(cfg: Params) -> Thresholds:
    """The thresholds of the data set that the parameters name; `ThresholdError` where it has none."""
    found: Thresholds | None = getattr(cfg.thresholds, cfg.data.name)
    if found is None:
        raise ThresholdError(
            f"thresholds.{cfg.data.name} is null in the parameters, so there is nothing to check the metrics "
            "against; write bounds there, as in thresholds.mnist"
        )
    return found


def verdicts(metrics: Mapping[str, Any], thresholds: Thresholds) -> list[Verdict]:
    """Each threshold with the metric it bounds; `ThresholdError` names a metric that is missing or not a number."""
    found = []
    for variant, bounds in thresholds.model_dump().items():
        for metric, bound in bounds.items():
            name = f"{variant}.test.{metric}"
            value = float(_value(metrics, name, "evaluate"))
            found.append(Verdict(name, value, bound, at_least=metric not in LOWER_IS_BETTER))
    return found


def refuse_other_bits(metrics: Mapping[str, Any], cfg: Params) -> None:
    """`ThresholdError` where the metrics are of another width than the parameters ask for."""
    found = _value(metrics, "binary.bits", "evaluate")
    if found != cfg.model.bits:
        raise ThresholdError(
            f"the reports are of model.bits {found}, but the parameters say {cfg.model.bits}; "
            "`dvc repro` makes them again"
        )


def check(reports: Path, cfg: Params) -> list[Verdict]:
    """All that must hold: the metrics keep their bounds, and the engines of a packed network agree."""
    metrics = files.read_json(reports / "metrics.json")
    found = verdicts(metrics, of_data_set(cfg))
    refuse_other_bits(metrics, cfg)
    if is_packed(metrics):
        found += agreement(files.read_json(reports / "agreement.json"), cfg.data.limit)
    return found


def is_packed(metrics: Mapping[str, Any]) -> bool:
    """Whether the metrics are of a binary network of 1 bit, the only width that has a packed form."""
    return _value(metrics, "binary.bits", "evaluate") == 1


def agreement(report: Mapping[str, Any], limit: int | None) -> list[Verdict]:
    """Each pair of engines compared: on all images of both parts, or the first ``limit`` of each, nothing may differ.

    `ThresholdError` names a count that is missing or not a number.
    """
    images = sum(part if limit is None else min(part, limit) for part in mnist.PART_SIZES.values())
    bounds = {"images": images, "dots": 0, "logits": 0, "predictions": 0}
    return [
        Verdict(f"agreement.{pair}.{kind}", _total(report, pair, kind), bound, at_least=kind == "images")
        for pair in PAIRS
        for kind, bound in bounds.items()
    ]


def _total(report: Mapping[str, Any], pair: str, kind: str) -> float:
    """Sum of a count over the splits."""
    content = {"agreement": report}
    return sum(_value(content, f"agreement.{split}.{pair}.{kind}", "agreement") for split in mnist.SPLITS)


def _value(content: Mapping[str, Any], name: str, stage: str) -> float:
    """A number by its dotted name, in the report that a stage writes."""
    value: Any = content
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise ThresholdError(f"metric {name} is missing; `dvc repro {stage}` writes it")
        value = value[step]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ThresholdError(f"metric {name} is {value!r}, expected a number; `dvc repro {stage}` writes it")
    return value
