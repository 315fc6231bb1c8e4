"""The record of a benchmark of the training, from fabricated times: ratios by hand, what was not reached, the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trainings

from bnnlib.benchmark import training_record
from bnnlib.benchmark.training_contest import Plan
from bnnlib.benchmark.training_record import TrainingBenchmarkError

MACS = 3 * 7_175_936 - 400 * 32 * 81


def test_times_worked_by_hand() -> None:
    full = trainings.as_json()["networks"]["full"]
    ours, reference = full["loops"]["ours"], full["loops"]["reference"]
    # Microseconds an image 100, 200, 400: quartiles 150, 200, 300, times 48,000 images.
    assert ours["seconds_per_epoch"] == {"median": 9.6, "low": 7.2, "high": 14.4}
    assert reference["seconds_per_epoch"] == {"median": 48.0, "low": 48.0, "high": 48.0}
    assert (ours["images_per_s"], reference["images_per_s"]) == (5_000.0, 1_000.0)
    assert full["matrix_product_gmacs_per_s"] == 100.0
    assert ours["matrix_product_fraction"] == round(5_000 * MACS / 100e9, 3)
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


def test_a_reference_that_gives_up_gives_a_lower_bound() -> None:
    binary = trainings.as_json()["networks"]["binary"]
    assert binary["target"] == 0.978
    assert binary["loops"]["reference"]["time_to_score"]["reached"] is False
    assert binary["score_ratio"] == {"value": 25.0, "lower_bound": True}


def test_a_score_that_ours_does_not_reach_has_no_ratio() -> None:
    full = trainings.as_json(trainings.found_that_fell_short())["networks"]["full"]
    assert full["score_ratio"] == {"value": None, "lower_bound": False}


def test_the_record_is_json_with_its_conditions() -> None:
    found = trainings.as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["date"], found["device"], found["threads"], found["seed"]) == (
        "2026-01-02",
        "cpu",
        2,
        trainings.PARAMS.seed,
    )
    assert found["plan"] == {"rounds": 3, "images": 1_000, "epochs": 4, "epochs_at_most": 9}
    assert found["step_macs_per_image"] == MACS
    assert found["versions"]["torchvision"] is not None
    assert [each["bits"] for each in found["networks"].values()] == [16, 1]


def test_table() -> None:
    lines = training_record.table(trainings.as_json()).splitlines()
    assert len({len(line) for line in lines[:5]}) == 1  # aligned
    rows = [line.split() for line in lines]
    assert rows[1] == ["full,", "ours", "9.6", "5,000", "102%", "0.991", "2", "20.0"]
    assert rows[4] == ["binary,", "reference", "48.0", "1,000", "20%", "0.978", "not", "in", "9", "above", "500.0"]
    assert lines[-2] == "full: an epoch 5.0 times quicker, the score 17.5 times sooner"
    assert lines[-1] == "binary: an epoch 5.0 times quicker, the score more than 25.0 times sooner"


def test_table_of_what_ours_does_not_reach() -> None:
    lines = training_record.table(trainings.as_json(trainings.found_that_fell_short())).splitlines()
    assert lines[-2] == "full: an epoch 5.0 times quicker, the score not reached by ours in 4 epochs"


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("model", {"bits": 2}, "model.bits: 2, but the reference's scores are of 1; set it to that"),
        ("data", {"name": "kmnist"}, "data.name: kmnist, but the reference's scores are of mnist; set it to that"),
    ],
)
def test_another_training_is_refused(section: str, value: dict[str, object], message: str) -> None:
    changed = getattr(trainings.PARAMS, section).model_copy(update=value)
    cfg = trainings.PARAMS.model_copy(update={section: changed})
    with pytest.raises(TrainingBenchmarkError) as caught:
        training_record.run(Path("nowhere"), cfg, Plan(), print)
    assert str(caught.value) == message
