"""Losses image by image, and which images and classes stand out, from tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from bnnlib import mistakes
from bnnlib.mistakes import Confusion, Errors

PREDICTIONS = pd.DataFrame(
    {
        "label": [4, 4, 4, 9, 0, 4, 7],
        "full": [4, 9, 4, 9, 6, 4, 1],
        "binary": [9, 9, 4, 4, 0, 2, 1],
        "binary_loss": [1.5, 3.0, 9.0, 1.5, 0.1, 2.0, 1.5],
    }
)


def test_losses_are_the_logarithms_of_the_probabilities() -> None:
    logits = np.log(np.array([[1, 3], [1, 3], [1, 1]], np.float32))
    labels = np.array([0, 1, 1], np.uint8)
    expected = [round(math.log(4), 6), round(math.log(4 / 3), 6), round(math.log(2), 6)]
    assert mistakes.losses(logits, labels).tolist() == expected


def test_losses_are_those_that_the_scores_are_the_mean_of() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 5, (200, 10)).astype(np.float32)
    labels = generator.integers(0, 10, 200, dtype=np.uint8)
    tensors = torch.from_numpy(logits).double(), torch.from_numpy(labels).long()
    expected = functional.cross_entropy(*tensors, reduction="none").numpy()
    assert np.abs(mistakes.losses(logits, labels) - expected).max() <= 0.5e-6 + 1e-12  # half of the last digit


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1000, 0], [-1000, 1000]], np.float32)
    assert mistakes.losses(logits, np.array([0, 0], np.uint8)).tolist() == [0.0, 2000.0]


def test_each_network_gets_a_column_of_losses() -> None:
    table = pd.DataFrame({"label": [1, 2], "full": [1, 2], "binary": [1, 3]})
    found = mistakes.with_losses(table, {"full": np.array([0.25, 0.0]), "binary": np.array([0.000001, 2.5])})
    assert found.to_csv(index=False) == "label,full,binary,full_loss,binary_loss\n1,1,1,0.25,1e-06\n2,2,3,0.0,2.5\n"
    assert list(table) == ["label", "full", "binary"]


@pytest.mark.parametrize(("count", "expected"), [(10, [1, 5, 0, 3, 6]), (3, [1, 5, 0]), (0, [])])
def test_the_worst_images_are_wrong_ones_by_loss_then_in_their_order(count: int, expected: list[int]) -> None:
    assert mistakes.worst(PREDICTIONS, count).index.tolist() == expected


def test_many_equal_losses_keep_the_order_of_the_images() -> None:
    table = pd.DataFrame({"label": 0, "binary": 1, "binary_loss": [1.0, 2.0] * 100})  # more than are sorted one by one
    assert mistakes.worst(table, 150).index.tolist() == [*range(1, 200, 2), *range(0, 100, 2)]


def test_confused_pairs_come_by_count_then_by_class() -> None:
    assert mistakes.confused(PREDICTIONS, 3) == [
        Confusion(label=4, prediction=9, full=1, binary=2),
        Confusion(label=4, prediction=2, full=0, binary=1),
        Confusion(label=7, prediction=1, full=1, binary=1),
    ]


def test_errors_are_counted_for_each_and_for_both() -> None:
    assert mistakes.errors(PREDICTIONS) == Errors(images=7, full=3, binary=5, both=2)


def test_without_errors_there_is_nothing_to_show() -> None:
    right = PREDICTIONS.assign(full=PREDICTIONS["label"], binary=PREDICTIONS["label"])
    assert mistakes.worst(right, 16).empty
    assert mistakes.confused(right, 8) == []
    assert mistakes.errors(right) == Errors(images=7, full=0, binary=0, both=0)
