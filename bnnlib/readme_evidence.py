"""The evidence as Markdown: other seeds and widths, published networks, flips of signs, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib import evidence, mistakes, mnist, sweep_tables
from bnnlib.evidence import Width
from bnnlib.params import DataName
from bnnlib.sweep import NONE, Run, Spread

if TYPE_CHECKING:  # slow to import
    import pandas as pd

PAIRS = 8  # of the classes most often confused
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}
SWEPT = ("macro_f1", "loss", "accuracy", "validation_macro_f1")


def markdown(reports: Path, metrics: Mapping[str, Any], predictions: pd.DataFrame, data: DataName) -> str:
    """All of it; ``metrics`` and ``predictions`` are of reports/, links relative to its parent."""
    figures = f"{reports.name}/figures"
    sections = (
        (
            "Other seeds, other widths",
            _seeds(f"{reports.name}/sweep.csv", evidence.widths(sweep_tables.rows(reports / "sweep.csv", Run))),
        ),
        ("Beside published networks" if data == "mnist" else "Score and size", _frontier(figures, data)),
        ("Signs that flip", _flips(figures, metrics["binary"]["bits"])),
        ("What is still wrong", _mistakes(figures, predictions, mnist.CLASS_NAMES[data])),
    )
    return "\n".join(line for title, lines in sections for line in (f"### {title}", "", *lines, ""))


def _seeds(table: str, widths: Sequence[Width]) -> list[str]:
    """A row for each data set, bit width, surrogate and profile of the sweep; without rows, how to get some."""
    if not widths:
        return [
            "Not measured yet: the commands of the frozen stage `sweep` in [dvc.yaml](dvc.yaml) fill "
            f"[{table}]({table}), and `dvc repro` then shows it here."
        ]
    lines = [
        "Networks trained anew on one thread each, the division into training and validation images kept: mean ± "
        "standard deviation over the seeds (n - 1 in its denominator), and the plain value where there is one "
        "seed. Scores are on the test images but for the validation column. The profile `record` is a longer "
        f"training than `default` ([params.yaml](params.yaml) says how it differs). From [{table}]({table}).",
        "",
        "| data set | bits | surrogate | profile | seeds | macro-F1 | loss | accuracy "
        "| validation macro-F1 | weight bytes |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for summary, weight_bytes in widths:
        scores = (_spread(summary.scores[name]) for name in SWEPT)
        group = summary.group
        names = ("" if name == NONE else name for name in (group.surrogate, group.profile))
        lines.append(
            f"| {TITLES[group.dataset]} | {group.bits} | {' | '.join(names)} | {summary.n} "
            f"| {' | '.join(scores)} | {weight_bytes:,} |"
        )
    return lines


def _spread(spread: Spread) -> str:
    return f"{spread.mean:.4f}" if spread.sd is None else f"{spread.mean:.4f} ± {spread.sd:.4f}"


def _frontier(figures: str, data: DataName) -> list[str]:
    figure = f"![Macro-F1 against bytes of weights]({figures}/frontier.png)"
    if data != "mnist":
        return [figure]
    return [figure, "", "Sources and conditions of the published figures: [docs/anchors.md](docs/anchors.md)."]


def _flips(figures: str, bits: int) -> list[str]:
    if bits > 1:
        return [f"None: the binary network of these reports has {bits} bits, and only 1-bit weights are signs."]
    return [f"![Share of the binary weights that change sign in each epoch]({figures}/flips.png)"]


def _mistakes(figures: str, predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    found = mistakes.errors(predictions)
    lines = [
        f"Of {found.images:,} test images the binary network gets {found.binary:,} wrong, the full one {found.full:,}, "
        f"both {found.both:,}. The binary network's worst, by its loss:",
        "",
        f"![Test images that the binary network gets wrong]({figures}/mistakes.png)",
    ]
    pairs = mistakes.confused(predictions, PAIRS)
    if pairs:
        lines += ["", "What it confuses most often:", "", "| true | predicted | binary | full |"]
        lines.append("| --- | --- | ---: | ---: |")
        lines += [
            f"| {classes[pair.label]} | {classes[pair.prediction]} | {pair.binary} | {pair.full} |" for pair in pairs
        ]
    return lines
