"""The evidence as Markdown: other seeds and widths, published networks, flips of signs, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.data import mnist
from bnnlib.data.mnist import DataName
from bnnlib.report import comparison, mistakes
from bnnlib.report.comparison import Width
from bnnlib.sweeps.grid import NONE, Spread
from bnnlib.sweeps.tables import BASELINE_TABLE

if TYPE_CHECKING:  # slow to import
    import pandas as pd

PAIRS = 8  # of the classes most often confused
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}
SWEPT = ("macro_f1", "loss", "accuracy", "validation_macro_f1")


def markdown(reports: Path, metrics: Mapping[str, Any], predictions: pd.DataFrame, data: DataName) -> str:
    """All of it; ``metrics`` and ``predictions`` are of reports/, links relative to its parent."""
    figures = f"{reports.name}/figures"
    sections = (
        ("Other seeds, other widths", _seeds(reports.name, comparison.swept(reports))),
        ("Beside published networks" if data == "mnist" else "Score and size", _frontier(figures, data)),
        ("Signs that flip", _flips(figures, metrics["binary"]["bits"])),
        ("What is still wrong", _mistakes(figures, predictions, mnist.CLASS_NAMES[data])),
    )
    return "\n".join(line for title, lines in sections for line in (f"### {title}", "", *lines, ""))


def means(reports: Path, metrics: Mapping[str, Any], data: DataName) -> list[str]:
    """More rows for the table of results: groups of several seeds, as wide as a published network; what they are."""
    bits = {result["bits"] for result in metrics.values()}
    found = [width for width in comparison.swept(reports) if width.summary.n > 1]
    found = [each for each in found if each.summary.group.dataset == data and each.summary.group.bits in bits]
    if not found:
        return []
    surrogates = {width.summary.group.surrogate for width in found} - {NONE}
    found.sort(key=lambda width: (width.commit is not None, -width.summary.group.bits))  # the widest first, as there
    note = "Rows with seeds are means ± standard deviations of networks that differ by the seed alone."
    rows = (_mean(width, len(surrogates) > 1) for width in found)
    return [*rows, "", f"{note}{_origin(reports.name, found)}"]


def _origin(folder: str, widths: Sequence[Width]) -> str:
    """Where the rows with a commit come from, if there are any."""
    if not any(width.commit for width in widths):
        return ""
    table = f"{folder}/{BASELINE_TABLE}"
    return (
        " Rows with a commit are what it measured with the topology that the study started from, and its own recipe "
        f"([{table}]({table}))."
    )


def _mean(width: Width, several_surrogates: bool) -> str:
    summary, group = width.summary, width.summary.group
    names = [group.topology]
    if several_surrogates and group.surrogate != NONE:
        names.append(group.surrogate)
    names.append(f"{summary.n} seeds")
    if width.commit:
        names.append(f"`{width.commit}`")
    scores = (_spread(summary.scores[name]) for name in ("macro_f1", "loss", "accuracy"))
    return f"| {', '.join(names)} | {group.bits} | | {' | '.join(scores)} | {width.weight_bytes:,} | |"


def _seeds(folder: str, widths: Sequence[Width]) -> list[str]:
    """A row for each data set, topology, bit width and surrogate of the sweeps, and how to measure what is missing."""
    table = f"{folder}/sweep.csv"
    missing = [
        "Not measured yet: the commands of the frozen stage `sweep` in [dvc.yaml](dvc.yaml) fill "
        f"[{table}]({table}), and `dvc repro` then shows it here."
    ]
    if not widths:
        return missing
    lines = [
        *([*missing, ""] if all(width.commit for width in widths) else []),
        "Networks trained again on one thread each, with the same division into training and validation images: mean ± "
        "standard deviation over the seeds (n - 1 in its denominator), and the plain value where there is one seed. "
        "Scores are on the test images, except in the validation column. "
        f"From [{table}]({table}).{_origin(folder, widths)}",
        "",
        "| data set | topology | bits | surrogate | seeds | macro-F1 | loss | accuracy "
        "| validation macro-F1 | weight bytes | measured at |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    return [*lines, *map(_row, widths)]


def _row(width: Width) -> str:
    summary, group = width.summary, width.summary.group
    surrogate = "" if group.surrogate == NONE else group.surrogate
    scores = (_spread(summary.scores[name]) for name in SWEPT)
    commit = f"`{width.commit}`" if width.commit else ""
    return (
        f"| {TITLES[group.dataset]} | {group.topology} | {group.bits} | {surrogate} | {summary.n} "
        f"| {' | '.join(scores)} | {width.weight_bytes:,} | {commit} |"
    )


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
