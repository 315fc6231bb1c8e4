"""Scores against scikit-learn, and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from bnnlib.scoring import metrics

CLASSES = 10
# Few classes on each side, so that classes without images or predictions are common.
SIDE = st.sets(st.integers(0, CLASSES - 1), min_size=1).map(sorted).map(st.sampled_from)
PAIRS = st.tuples(SIDE, SIDE).flatmap(lambda sides: st.lists(st.tuples(*sides), min_size=1, max_size=40))


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs, dtype=np.uint8).T
    matrix = metrics.confusion(labels, predictions, CLASSES)
    everything = list(range(CLASSES))
    assert np.array_equal(matrix, confusion_matrix(labels, predictions, labels=everything))

    scores = metrics.scores(matrix, loss_sum=3.0)
    assert scores.macro_f1 == f1_score(labels, predictions, average="macro", zero_division=0)
    assert scores.accuracy == accuracy_score(labels, predictions)
    assert scores.loss == 3.0 / len(pairs)

    each = metrics.per_class(matrix)
    expected = precision_recall_fscore_support(labels, predictions, labels=everything, zero_division=0)
    for ours, theirs in zip((each.precision, each.recall, each.f1, each.support), expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_rows_of_the_confusion_matrix_are_labels() -> None:
    matrix = metrics.confusion(np.array([0, 0, 2], np.uint8), np.array([1, 1, 0], np.uint8), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_many_classes_do_not_overflow() -> None:
    # 255 * 256 + 255 does not fit the uint8 that labels come in.
    top = np.array([255], np.uint8)
    assert metrics.confusion(top, top, 256)[255, 255] == 1


# matrix, macro-F1, accuracy; the loss sum is 6
HAND = [
    ([[4, 0], [0, 2]], 1.0, 1.0),
    ([[3, 1], [1, 1]], (6 / 8 + 2 / 4) / 2, 4 / 6),
    ([[0, 4], [2, 0]], 0.0, 0.0),
    # The last class has images but no predictions: its F1 is 0 and counts.
    ([[3, 0], [3, 0]], (6 / 9 + 0) / 2, 3 / 6),
    # The last class has neither images nor predictions: it does not count.
    ([[3, 1, 0], [1, 1, 0], [0, 0, 0]], (6 / 8 + 2 / 4) / 2, 4 / 6),
]


@pytest.mark.parametrize(("matrix", "macro_f1", "accuracy"), HAND)
def test_scores_by_hand(matrix: list[list[int]], macro_f1: float, accuracy: float) -> None:
    assert metrics.scores(np.array(matrix), loss_sum=6.0) == metrics.Scores(macro_f1, 6 / np.sum(matrix), accuracy)


def test_per_class_by_hand() -> None:
    each = metrics.per_class(np.array([[3, 1, 0], [1, 1, 0], [0, 2, 0]]))
    assert each.precision.tolist() == [3 / 4, 1 / 4, 0]
    assert each.recall.tolist() == [3 / 4, 1 / 2, 0]
    assert each.f1.tolist() == [6 / 8, 2 / 6, 0]
    assert each.support.tolist() == [4, 2, 2]


def test_standard_error_of_an_accuracy() -> None:
    assert metrics.standard_error(0.99, 10_000) == pytest.approx(0.000995, abs=1e-6)
    assert metrics.standard_error(0.5, 4) == 0.25
    assert metrics.standard_error(1.0, 10_000) == 0
