"""The committed results are those of the committed weights on the real test set."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import mnist, splits
from bnnlib.nn import convnet, weights
from bnnlib.nn.published import restore
from bnnlib.report import comparison, costs, literature, mistakes, readme, tables, thresholds
from bnnlib.report.figures import cost, curves, frontier, pictures, style
from bnnlib.scoring import evaluation, metrics
from stages.visualize import WORST

PRINTED_DIGITS = 4
VARIANTS = ["full", "binary"]


@pytest.fixture(scope="module")
def sets(parts: dict[str, splits.Split]) -> dict[str, splits.Split]:
    """The held-out images, split again from the raw files with the committed parameters."""
    cfg = params.load(ROOT / "params.yaml")
    _, validation = splits.split(parts["development"], cfg.data.validation_fraction, cfg.data.split_seed)
    return {"validation": validation, "test": parts["test"]}


@cache
def network(variant: str) -> convnet.ConvNet:
    return restore(weights.read(ROOT / f"models/{variant}.safetensors"))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_scores_of_the_binary_network_agree_to_the_printed_digits(part: str, sets: dict[str, splits.Split]) -> None:
    """Its dot products are whole numbers, so every processor predicts the same."""
    committed = files.read_json(ROOT / "reports/metrics.json")["binary"][part]
    scores = evaluation.evaluate(network("binary"), *evaluation.tensors(sets[part], "cpu")).scores
    for name, value in vars(scores).items():
        assert f"{value:.{PRINTED_DIGITS}f}" == f"{committed[name]:.{PRINTED_DIGITS}f}", name


@pytest.mark.parametrize("part", ["validation", "test"])
def test_scores_of_the_full_network_agree_as_far_as_rounding_lets_them(
    part: str, sets: dict[str, splits.Split]
) -> None:
    """Processors add in different orders, so half values differ in their last bit: 2**-11 of each activation.

    That changes a loss by about a thousandth, and a prediction only where two classes are nearly level. Three other
    predictions of 10,000 change the accuracy by at most 0.0003, and macro-F1 by about as much.
    """
    committed = files.read_json(ROOT / "reports/metrics.json")["full"][part]
    scores = evaluation.evaluate(network("full"), *evaluation.tensors(sets[part], "cpu")).scores
    assert scores.loss == pytest.approx(committed["loss"], rel=0.01)
    assert scores.accuracy == pytest.approx(committed["accuracy"], abs=3.5e-4)
    assert scores.macro_f1 == pytest.approx(committed["macro_f1"], abs=5e-4)


def test_every_prediction_of_the_binary_network_agrees(sets: dict[str, splits.Split]) -> None:
    table = files.read_csv(ROOT / "reports/predictions.csv")
    found = evaluation.evaluate(network("binary"), *evaluation.tensors(sets["test"], "cpu")).predictions
    assert np.array_equal(table["label"], sets["test"].labels)
    assert np.array_equal(table["binary"], found)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tables_follow_from_the_predictions(variant: str) -> None:
    table = files.read_csv(ROOT / "reports/predictions.csv")
    matrix = metrics.confusion(table["label"], table[variant], mnist.CLASSES)
    stored = files.read_csv(ROOT / f"reports/confusion_{variant}.csv").drop(columns="label").to_numpy()
    assert np.array_equal(stored, matrix)
    per_class = files.read_csv(ROOT / f"reports/per_class_{variant}.csv")
    committed = files.read_json(ROOT / "reports/metrics.json")[variant]["test"]
    assert per_class["f1"].mean() == pytest.approx(committed["macro_f1"], abs=1e-12)  # a mean of ten float64
    assert (table["label"] == table[variant]).mean() == pytest.approx(committed["accuracy"], abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_of_the_images_average_to_the_loss(variant: str) -> None:
    table = files.read_csv(ROOT / "reports/predictions.csv")
    committed = files.read_json(ROOT / "reports/metrics.json")[variant]["test"]["loss"]
    assert table[f"{variant}_loss"].mean() == pytest.approx(committed, abs=0.5 * 10**-tables.LOSS_DIGITS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_epoch_is_the_best_on_validation(variant: str) -> None:
    history = files.read_csv(ROOT / f"reports/history_{variant}.csv")
    best = history.loc[history["validation_macro_f1"].idxmax()]  # the first of equals
    committed = files.read_json(ROOT / "reports/metrics.json")[variant]
    assert committed["epoch"] == best["epoch"]
    assert committed["validation"]["macro_f1"] == pytest.approx(best["validation_macro_f1"], abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_follow_from_the_reports(variant: str) -> None:
    """Drawn again they are the same bytes, where matplotlib and its fonts are those of the lock."""
    result = files.read_json(ROOT / "reports/metrics.json")[variant]
    matrix = files.read_csv(ROOT / f"reports/confusion_{variant}.csv").drop(columns="label").to_numpy()
    names = mnist.CLASS_NAMES[params.load(ROOT / "params.yaml").data.name]
    figure = pictures.confusion(matrix, f"{style.name(variant, result['bits'])}, test set", names)
    assert style.png(figure) == (ROOT / f"reports/figures/confusion_{variant}.png").read_bytes()


def test_figures_of_the_pages_follow_from_the_reports(sets: dict[str, splits.Split]) -> None:
    """As above; and the worst images are those of the real test set."""
    scores, sizes = (files.read_json(ROOT / f"reports/{name}.json") for name in ("metrics", "sizes"))
    cfg = params.load(ROOT / "params.yaml")
    name, swept = cfg.data.name, comparison.swept(ROOT / "reports")
    others = literature.parse((ROOT / "docs/literature.md").read_text(encoding="utf-8"), "literature.md")
    points = comparison.points(scores, sizes, swept, others, name)
    networks = costs.networks(swept, name, cfg.topologies, costs.read(ROOT / "reports"))
    worst = mistakes.worst(files.read_csv(ROOT / "reports/predictions.csv"), WORST)
    drawn = {
        "frontier": frontier.frontier(points),
        "cost": cost.cost(networks),
        "flips": curves.flips(files.read_csv(ROOT / "reports/history_binary.csv")),
        "mistakes": pictures.mistakes(sets["test"].images, worst, mnist.CLASS_NAMES[name]),
    }
    for figure, content in drawn.items():
        assert style.png(content) == (ROOT / f"reports/figures/{figure}.png").read_bytes(), figure


def test_committed_metrics_keep_the_thresholds_and_the_pages_show_them() -> None:
    cfg = params.load(ROOT / "params.yaml")
    found = thresholds.verdicts(files.read_json(ROOT / "reports/metrics.json"), thresholds.of_data_set(cfg))
    found += thresholds.agreement(files.read_json(ROOT / "reports/agreement.json"), cfg.data.limit)
    assert [verdict.name for verdict in found if not verdict.passed] == []
    for path, text in readme.pages(ROOT, ROOT / "reports", cfg.data.name, cfg.topologies).items():
        assert path.read_text(encoding="utf-8") == text, path


def test_thresholds_are_at_least_as_strict_as_the_scores_of_the_baseline() -> None:
    """As https://github.com/grassking100/bnn reports them."""
    thresholds = params.load(ROOT / "params.yaml").thresholds.mnist
    assert thresholds is not None
    assert thresholds.full.macro_f1 >= 0.991
    assert thresholds.full.loss <= 0.0382
    assert thresholds.binary.macro_f1 >= 0.978
    assert thresholds.binary.loss <= 0.2589
