"""Scores of a classifier from its confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scores:
    """Macro-F1 (unweighted mean of the classes' F1), mean cross-entropy in nats an image, and accuracy."""

    macro_f1: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class ClassScores:
    """Per class: precision, recall, F1 (float64, 0 where undefined) and support (number of images)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def confusion(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Confusion matrix, (classes, classes): rows are true labels, columns predictions."""
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def per_class(matrix: NDArray[np.int64]) -> ClassScores:
    """Precision, recall and F1 of each class. Undefined ratios (a class never seen or never predicted) count as 0."""
    hits = np.diag(matrix).astype(np.float64)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def scores(matrix: NDArray[np.int64], loss_sum: float) -> Scores:
    """Scores over all images of a confusion matrix; ``loss_sum`` is the sum of the images' losses."""
    images = int(matrix.sum())
    present = matrix.sum(axis=1) + matrix.sum(axis=0) > 0  # a class neither seen nor predicted has no F1
    return Scores(
        macro_f1=float(per_class(matrix).f1[present].mean()),
        loss=loss_sum / images,
        accuracy=float(np.trace(matrix)) / images,
    )


def standard_error(share: float, images: int) -> float:
    """Standard error of a share of independent images, such as an accuracy: sqrt(share (1 - share) / images)."""
    return math.sqrt(share * (1 - share) / images)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
