"""Which images and classes stand out, from tables worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from bnnlib.report import mistakes
from bnnlib.report.mistakes import Confusion, Errors

PREDICTIONS = pd.DataFrame(
    {
        "label": [4, 4, 4, 9, 0, 4, 7],
        "full": [4, 9, 4, 9, 6, 4, 1],
        "binary": [9, 9, 4, 4, 0, 2, 1],
        "binary_loss": [1.5, 3.0, 9.0, 1.5, 0.1, 2.0, 1.5],
    }
)


@pytest.mark.parametrize(("count", "expected"), [(10, [1, 5, 0, 3, 6]), (3, [1, 5, 0]), (0, [])])
def test_the_worst_images_are_wrong_ones_by_loss_then_in_their_order(count: int, expected: list[int]) -> None:
    assert mistakes.worst(PREDICTIONS, count).index.tolist() == expected


def test_many_equal_losses_keep_the_order_of_the_images() -> None:
    # Long: a short table is sorted by another algorithm.
    table = pd.DataFrame({"label": 0, "binary": 1, "binary_loss": [1.0, 2.0] * 100})
    assert mistakes.worst(table, 150).index.tolist() == [*range(1, 200, 2), *range(0, 100, 2)]


def test_confused_pairs_come_by_count_then_by_class() -> None:
    assert mistakes.confused(PREDICTIONS, 3) == [
        Confusion(label=4, prediction=9, full=1, binary=2),
        Confusion(label=4, prediction=2, full=0, binary=1),
        Confusion(label=7, prediction=1, full=1, binary=1),
    ]


def test_errors_are_counted_for_each_network_and_for_both() -> None:
    assert mistakes.errors(PREDICTIONS) == Errors(images=7, full=3, binary=5, both=2)


def test_without_errors_there_is_nothing_to_show() -> None:
    right = PREDICTIONS.assign(full=PREDICTIONS["label"], binary=PREDICTIONS["label"])
    assert mistakes.worst(right, 16).empty
    assert mistakes.confused(right, 8) == []
    assert mistakes.errors(right) == Errors(images=7, full=0, binary=0, both=0)
