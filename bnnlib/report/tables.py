"""The tables that the evaluation writes into reports/, which the pages and the check of the thresholds read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnnlib.scoring import metrics
from bnnlib.scoring.evaluation import Evaluation
from bnnlib.scoring.metrics import Scores

LOSS_DIGITS = 6  # of an image's loss, behind the point: the last digits of an exponential depend on the processor


@dataclass(frozen=True)
class Passes:
    """Scores of the mean of all passes of a packed network over each image; ``count``: of passes."""

    count: int
    validation: Scores
    test: Scores


@dataclass(frozen=True)
class Result:
    """One published network: bit width, the epoch it comes from, its scores on both held-out sets, its size.

    ``weights``: their number; ``weight_bytes``: their size at their bit width; ``file_bytes``: of the published file;
    ``packed_bytes``: of the packed file that the scores come from, None where they come from the published one.
    ``passes``: of a packed network that can make several.
    """

    bits: int
    epoch: int
    validation: Evaluation
    test: Evaluation
    weights: int
    weight_bytes: int
    file_bytes: int
    packed_bytes: int | None
    passes: Passes | None = None


def metrics_object(results: Mapping[str, Result]) -> dict[str, Any]:
    """reports/metrics.json: variant -> bits, epoch, scores on validation and test, and of several passes."""
    return {
        variant: {
            "bits": result.bits,
            "epoch": result.epoch,
            "validation": dataclasses.asdict(result.validation.scores),
            "test": dataclasses.asdict(result.test.scores),
            **({} if result.passes is None else {"passes": dataclasses.asdict(result.passes)}),
        }
        for variant, result in results.items()
    }


def sizes_object(results: Mapping[str, Result]) -> dict[str, Any]:
    """reports/sizes.json: variant -> number of weights and bytes."""
    names = ("weights", "weight_bytes", "file_bytes", "packed_bytes")
    return {variant: {name: getattr(result, name) for name in names} for variant, result in results.items()}


def confusion_table(result: Result) -> pd.DataFrame:
    """Test confusion matrix: a row for each true label, a column for each prediction."""
    matrix = result.test.confusion
    return pd.DataFrame(matrix, columns=[str(label) for label in range(len(matrix))]).rename_axis("label").reset_index()


def per_class_table(result: Result) -> pd.DataFrame:
    """Precision, recall, F1 and support of each class on the test set."""
    scores = dataclasses.asdict(metrics.per_class(result.test.confusion))
    return pd.DataFrame(scores).rename_axis("label").reset_index()


def predictions_table(labels: NDArray[np.uint8], results: Mapping[str, Result]) -> pd.DataFrame:
    """True label, both predictions and both losses of every test image, in the order of the test set."""
    predictions = {variant: result.test.predictions for variant, result in results.items()}
    losses = {f"{variant}_loss": result.test.losses.round(LOSS_DIGITS) for variant, result in results.items()}
    return pd.DataFrame({"label": labels, **predictions, **losses})


def objects(results: Mapping[str, Result]) -> dict[str, Any]:
    """File name -> content of every JSON report."""
    return {"metrics.json": metrics_object(results), "sizes.json": sizes_object(results)}


def tables(labels: NDArray[np.uint8], results: Mapping[str, Result]) -> dict[str, pd.DataFrame]:
    """File name -> content of every CSV report."""
    found = {"predictions.csv": predictions_table(labels, results)}
    for variant, result in results.items():
        found[f"confusion_{variant}.csv"] = confusion_table(result)
        found[f"per_class_{variant}.csv"] = per_class_table(result)
    return found
