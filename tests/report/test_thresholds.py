"""The thresholds: kept, just missed, and metrics that are missing or not numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.config.params import DataThresholds, Threshold, Thresholds
from bnnlib.data import mnist
from bnnlib.report import thresholds
from bnnlib.report.thresholds import ThresholdError

THRESHOLDS = Thresholds(full=Threshold(macro_f1=0.99, loss=0.03), binary=Threshold(macro_f1=0.98, loss=0.05))
COMMITTED = params.load(ROOT / "params.yaml")


def parameters(name: mnist.DataName, **sets: Thresholds) -> params.Params:
    """The committed parameters with this data set, and thresholds for these sets only."""
    none = dict.fromkeys(DataThresholds.model_fields)
    data = COMMITTED.data.model_copy(update={"name": name})
    return COMMITTED.model_copy(update={"data": data, "thresholds": DataThresholds(**{**none, **sets})})


def test_the_thresholds_are_those_of_the_data_set() -> None:
    other = THRESHOLDS.model_copy(update={"full": Threshold(macro_f1=0.9, loss=0.3)})
    assert thresholds.of_data_set(parameters("mnist", mnist=THRESHOLDS, kmnist=other)) == THRESHOLDS
    assert thresholds.of_data_set(parameters("kmnist", mnist=THRESHOLDS, kmnist=other)) == other


def test_a_data_set_without_thresholds_is_named() -> None:
    with pytest.raises(ThresholdError) as caught:
        thresholds.of_data_set(parameters("kmnist", mnist=THRESHOLDS))
    assert str(caught.value).startswith("thresholds.kmnist is null in the parameters, so there is nothing")


def metrics(**changes: Any) -> dict[str, Any]:
    """Scores of both networks; keys of the changes are like full_loss."""
    values = {"full_macro_f1": 0.995, "full_loss": 0.02, "binary_macro_f1": 0.985, "binary_loss": 0.04, **changes}
    return {
        variant: {"test": {name: values[f"{variant}_{name}"] for name in ("macro_f1", "loss")}}
        for variant in ("full", "binary")
    }


def agreement(**changes: Any) -> dict[str, Any]:
    """A report in which nothing differs, except the changes in the first pair of the test split."""
    counts = {"train": 45_000, "validation": 15_000, "test": 10_000}
    report = {
        split: {pair: {"images": n, "dots": 0, "logits": 0, "predictions": 0} for pair in thresholds.PAIRS}
        for split, n in counts.items()
    }
    report["test"][thresholds.PAIRS[0]].update(changes)
    return report


def missed(found: list[thresholds.Verdict]) -> list[str]:
    return [verdict.name for verdict in found if not verdict.passed]


def test_every_threshold_is_looked_at() -> None:
    found = thresholds.verdicts(metrics(), THRESHOLDS)
    assert missed(found) == []
    assert [(verdict.name, verdict.value, verdict.bound) for verdict in found] == [
        ("full.test.macro_f1", 0.995, 0.99),
        ("full.test.loss", 0.02, 0.03),
        ("binary.test.macro_f1", 0.985, 0.98),
        ("binary.test.loss", 0.04, 0.05),
    ]


@pytest.mark.parametrize(
    ("name", "value", "missing"),
    [
        ("full_macro_f1", 0.99, False),
        ("full_macro_f1", math.nextafter(0.99, 0), True),
        ("full_macro_f1", 1, False),
        ("full_macro_f1", math.nan, True),
        ("full_macro_f1", -math.inf, True),
        ("binary_loss", 0.05, False),
        ("binary_loss", math.nextafter(0.05, 1), True),
        ("binary_loss", 0, False),
        ("binary_loss", math.nan, True),
        ("binary_loss", math.inf, True),
    ],
)
def test_both_sides_of_a_bound(name: str, value: float, missing: bool) -> None:
    dotted = name.replace("_", ".test.", 1)
    assert missed(thresholds.verdicts(metrics(**{name: value}), THRESHOLDS)) == ([dotted] if missing else [])


@pytest.mark.parametrize("value", [None, "0.99", True, [0.99], {}])
def test_what_is_not_a_number_is_named(value: Any) -> None:
    with pytest.raises(ThresholdError) as caught:
        thresholds.verdicts(metrics(full_loss=value), THRESHOLDS)
    assert str(caught.value).startswith(f"metric full.test.loss is {value!r}, expected a number")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({}, "full.test.macro_f1"),
        ({"full": metrics()["full"]}, "binary.test.macro_f1"),
        ({"full": {"test": {"macro_f1": 1.0}}}, "full.test.loss"),
        ({"full": 3}, "full.test.macro_f1"),
        ([], "full.test.macro_f1"),
    ],
)
def test_a_missing_metric_is_named(content: Any, name: str) -> None:
    with pytest.raises(ThresholdError, match=f"metric {name} is missing; `dvc repro evaluate` writes it"):
        thresholds.verdicts(content, THRESHOLDS)


def test_verdicts_in_words() -> None:
    kept, _, lost, _ = thresholds.verdicts(metrics(binary_macro_f1=0.9), THRESHOLDS)
    assert str(kept) == "ok     full.test.macro_f1: 0.995000 (bound >= 0.99)"
    assert str(lost) == "MISSED binary.test.macro_f1: 0.900000 (bound >= 0.98)"
    assert "<= 0.03" in str(thresholds.verdicts(metrics(), THRESHOLDS)[1])


def test_engines_that_agree_on_all_images_pass() -> None:
    found = thresholds.agreement(agreement(), None)
    assert missed(found) == []
    assert str(found[0]) == "ok     agreement.torch and reference.images: 70000 (bound >= 70000)"
    assert str(found[3]) == "ok     agreement.torch and reference.predictions: 0 (bound <= 0)"


@pytest.mark.parametrize(
    ("limit", "images", "passed"), [(None, 9_999, False), (200, 0, True), (60_000, 9_999, False), (59_999, 9_999, True)]
)
def test_as_many_images_as_there_are(limit: int | None, images: int, passed: bool) -> None:
    name = "agreement.torch and reference.images"
    assert missed(thresholds.agreement(agreement(images=images), limit)) == ([] if passed else [name])


@pytest.mark.parametrize("kind", ["dots", "logits", "predictions"])
def test_one_difference_is_named(kind: str) -> None:
    assert missed(thresholds.agreement(agreement(**{kind: 1}), None)) == [f"agreement.torch and reference.{kind}"]


@pytest.mark.parametrize("report", [{}, [], None, {"train": {}}, {"train": {"torch and reference": 1}}])
def test_a_report_without_a_count_is_named(report: Any) -> None:
    with pytest.raises(
        ThresholdError, match=r"metric agreement\.train\.torch and reference\.images is missing; `dvc repro agree"
    ):
        thresholds.agreement(report, None)


@pytest.mark.parametrize("value", [None, "0", False])
def test_a_count_that_is_not_a_number_is_named(value: Any) -> None:
    with pytest.raises(
        ThresholdError, match=rf"agreement\.test\.torch and reference\.logits is {value!r}, expected a number"
    ):
        thresholds.agreement(agreement(logits=value), None)


@pytest.mark.parametrize(("bits", "packed"), [(1, True), (2, False), (16, False)])
def test_a_binary_network_of_one_bit_is_packed(bits: int, packed: bool) -> None:
    assert thresholds.is_packed({"binary": {"bits": bits}}) == packed
