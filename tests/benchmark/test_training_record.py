"""The record of the training benchmark, from made-up times: ratios by hand, scores that were not reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import trainings

from bnnlib.benchmark.training import baseline_loop, record
from bnnlib.benchmark.training.contest import Plan
from bnnlib.benchmark.training.record import TrainingBenchmarkError


def test_times_computed_by_hand() -> None:
    full = trainings.as_json()["networks"]["full"]
    ours, baseline = full["loops"]["ours"], full["loops"]["baseline"]
    # Microseconds per image 100, 200, 400: quartiles 150, 200, 300, times 48,000 images.
    assert ours["seconds_per_epoch"] == {"median": 9.6, "low": 7.2, "high": 14.4}
    assert baseline["seconds_per_epoch"] == {"median": 48.0, "low": 48.0, "high": 48.0}
    assert (ours["images_per_s"], baseline["images_per_s"]) == (5_000.0, 1_000.0)
    assert ours["topology"] == trainings.PARAMS.training("full").topology.model_dump(mode="json")
    assert baseline["topology"] == baseline_loop.TOPOLOGY.model_dump(mode="json")
    # Rounds 1000 / 200, / 100, / 400 = 5, 10, 2.5, of which the quartiles are 3.75 and 7.5.
    assert full["epoch_ratio"] == {"median": 5.0, "low": 3.75, "high": 7.5}


def test_time_to_the_score() -> None:
    networks = trainings.as_json()["networks"]
    assert networks["full"]["target"] == 0.991
    assert networks["full"]["loops"]["ours"]["time_to_score"] == {
        "reached": True,
        "epochs": 2,
        "epochs_planned": 4,
        "seconds": 20.0,
        "macro_f1": [0.97, 0.9923],
    }
    assert networks["full"]["score_ratio"] == {"value": 17.5, "lower_bound": False}


def test_a_baseline_that_gives_up_gives_a_lower_bound() -> None:
    binary = trainings.as_json()["networks"]["binary"]
    assert binary["target"] == 0.978
    assert binary["loops"]["baseline"]["time_to_score"]["reached"] is False
    assert binary["score_ratio"] == {"value": 25.0, "lower_bound": True}


def test_a_score_that_our_loop_does_not_reach_has_no_ratio() -> None:
    full = trainings.as_json(trainings.found_that_fell_short())["networks"]["full"]
    assert full["score_ratio"] == {"value": None, "lower_bound": False}


def test_the_record_is_json_with_its_conditions() -> None:
    found = trainings.as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["date"], found["device"], found["threads"], found["seed"]) == (
        "2026-01-02",
        "cpu",
        trainings.PARAMS.runtime.threads,
        trainings.PARAMS.seed,
    )
    assert found["plan"] == {"rounds": 3, "images": 1_000, "epochs": 4, "epochs_at_most": 9}
    assert found["versions"]["torchvision"] is not None
    assert [each["bits"] for each in found["networks"].values()] == [16, 1]


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("model", {"bits": 2}, "model.bits: 2, but the baseline's scores are for 1; set it to that"),
        ("data", {"name": "kmnist"}, "data.name: kmnist, but the baseline's scores are for mnist; set it to that"),
    ],
)
def test_another_training_is_refused(section: str, value: dict[str, object], message: str) -> None:
    changed = getattr(trainings.PARAMS, section).model_copy(update=value)
    cfg = trainings.PARAMS.model_copy(update={section: changed})
    with pytest.raises(TrainingBenchmarkError) as caught:
        record.run(Path("nowhere"), cfg, Plan(), print)
    assert str(caught.value) == message
