"""The tables that the evaluation writes, from results worked out by hand."""

from __future__ import annotations

import numpy as np

from bnnlib.report import tables
from bnnlib.report.tables import Result
from bnnlib.scoring import metrics
from bnnlib.scoring.evaluation import Evaluation

LABELS = np.array([0, 0, 1, 2], np.uint8)


def evaluation(predictions: list[int], loss_sum: float) -> Evaluation:
    matrix = metrics.confusion(LABELS, predictions, 3)
    losses = loss_sum * np.array([0.5, 0.25, 0.25, 1e-7])
    return Evaluation(np.array(predictions, np.uint8), losses, matrix, metrics.scores(matrix, loss_sum))


FULL = Result(
    bits=16,
    epoch=5,
    validation=evaluation([0, 0, 1, 2], 2.0),
    test=evaluation([0, 1, 1, 2], 4.0),
    weights=8,
    weight_bytes=16,
    file_bytes=20,
    packed_bytes=None,
)
BINARY = Result(
    bits=1,
    epoch=7,
    validation=evaluation([0, 0, 1, 1], 6.0),
    test=evaluation([0, 0, 0, 0], 8.0),
    weights=8,
    weight_bytes=1,
    file_bytes=5,
    packed_bytes=3,
)
RESULTS = {"full": FULL, "binary": BINARY}


def test_metrics_object() -> None:
    assert tables.metrics_object(RESULTS) == {
        "full": {
            "bits": 16,
            "epoch": 5,
            "validation": {"macro_f1": 1.0, "loss": 0.5, "accuracy": 1.0},
            "test": {"macro_f1": (2 / 3 + 2 / 3 + 1) / 3, "loss": 1.0, "accuracy": 0.75},
        },
        "binary": {
            "bits": 1,
            "epoch": 7,
            "validation": {"macro_f1": (1 + 2 / 3 + 0) / 3, "loss": 1.5, "accuracy": 0.75},
            "test": {"macro_f1": 4 / 6 / 3, "loss": 2.0, "accuracy": 0.5},
        },
    }


def test_sizes_object() -> None:
    assert tables.sizes_object(RESULTS) == {
        "full": {"weights": 8, "weight_bytes": 16, "file_bytes": 20, "packed_bytes": None},
        "binary": {"weights": 8, "weight_bytes": 1, "file_bytes": 5, "packed_bytes": 3},
    }


def test_confusion_table_is_that_of_the_test_set() -> None:
    assert tables.confusion_table(FULL).to_csv(index=False) == "label,0,1,2\n0,1,1,0\n1,0,1,0\n2,0,0,1\n"


def test_per_class_table_is_that_of_the_test_set() -> None:
    table = tables.per_class_table(BINARY)
    assert table.to_dict("list") == {
        "label": [0, 1, 2],
        "precision": [0.5, 0.0, 0.0],
        "recall": [1.0, 0.0, 0.0],
        "f1": [4 / 6, 0.0, 0.0],
        "support": [2, 1, 1],
    }


def test_predictions_table_keeps_the_order_of_the_test_set_and_six_digits_of_a_loss() -> None:
    rows = [
        "label,full,binary,full_loss,binary_loss",
        "0,0,0,2.0,4.0",
        "0,1,0,1.0,2.0",
        "1,1,0,1.0,2.0",
        "2,2,0,0.0,1e-06",
    ]
    assert tables.predictions_table(LABELS, RESULTS).to_csv(index=False).split() == rows


def test_file_names() -> None:
    assert list(tables.objects(RESULTS)) == ["metrics.json", "sizes.json"]
    found = tables.tables(LABELS, RESULTS)
    assert sorted(found) == [
        "confusion_binary.csv",
        "confusion_full.csv",
        "per_class_binary.csv",
        "per_class_full.csv",
        "predictions.csv",
    ]
    assert found["confusion_full.csv"].equals(tables.confusion_table(FULL))
    assert found["per_class_binary.csv"].equals(tables.per_class_table(BINARY))
