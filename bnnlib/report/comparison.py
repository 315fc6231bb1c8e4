"""The sweeps' scores by group, and the points of the figure of score against size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib.data.mnist import PART_SIZES, DataName
from bnnlib.report.literature import Entry
from bnnlib.scoring.metrics import standard_error
from bnnlib.sweeps import results, tables
from bnnlib.sweeps.results import NONE, Group, Run, Spread, Summary

BASELINE_TOPOLOGY = "baseline"  # the one that the study started from: another family than the others


class Point(NamedTuple):
    """A network as a point of score against size.

    ``kind``: "published" by this study, "seeds" (mean of a sweep's rows), "baseline" and "old baseline" (the same of
    the topology that the study started from, now and at an earlier commit), or `Entry.kind`. ``name``: of the series
    that it belongs to, or of the network in the literature. ``error``: the score's standard error for one network (a
    macro-F1 is treated as an accuracy), the standard deviation for the mean of several. ``bits``: None for others'.
    """

    kind: str
    name: str
    weight_bytes: int
    score: float
    error: float
    bits: int | None = None


class Width(NamedTuple):
    """Scores of one group over its seeds, and the bytes of its weights.

    ``commit``: the one that measured them, where it is not this one.
    """

    summary: Summary
    weight_bytes: int
    commit: str | None = None


def swept(reports: Path) -> list[Width]:
    """The groups of the sweep in a folder of reports, then those of the baseline, which an earlier commit measured."""
    old = tables.baseline_rows(reports / tables.BASELINE_TABLE)
    return [
        *widths(run for run, _ in tables.read(reports / "sweep.csv")),
        *widths(old, tables.BASELINE_COMMIT),
    ]


def widths(found: Iterable[Run], commit: str | None = None) -> list[Width]:
    """Mean and standard deviation for each group, in the table's order."""
    table = list(found)
    sizes = {run.group(): run.weight_bytes for run in table}
    return [Width(each, sizes[each.group], commit) for each in results.aggregate(table)]


def points(
    metrics: Mapping[str, Any],
    sizes: Mapping[str, Any],
    found: Sequence[Width],
    literature: Iterable[Entry],
    data: DataName,
    images: int = PART_SIZES["test"],
) -> list[Point]:
    """The networks of this study, the sweeps' groups on the same data set, and on MNIST the literature with a size.

    ``metrics``, ``sizes``: of reports/, by variant; ``found``: `swept`; ``images``: how many the test set has.
    """
    here = [width for width in found if width.summary.group.dataset == data]
    return [
        *(_published(sizes[variant], result, images) for variant, result in metrics.items()),
        *(point for width in here for point in _group(width, here, images)),
        *(_literature(literature) if data == "mnist" else []),
    ]


def series(group: Group, among: Iterable[Width]) -> str:
    """What the groups of one line of a figure share: the width, and the surrogate where several were tried."""
    surrogates = {width.summary.group.surrogate for width in among} - {NONE}
    several = len(surrogates) > 1 and group.surrogate != NONE
    return f"{results.width(group.bits)}, {group.surrogate}" if several else results.width(group.bits)


def error(score: Spread, images: int) -> float:
    """The standard deviation over the seeds, or the standard error of a single network's score."""
    return standard_error(score.mean, images) if score.sd is None else score.sd


def _published(size: Mapping[str, Any], result: Mapping[str, Any], images: int) -> Point:
    score, bits = result["test"]["macro_f1"], result["bits"]
    return Point("published", results.width(bits), size["weight_bytes"], score, standard_error(score, images), bits)


def _group(width: Width, among: Sequence[Width], images: int) -> Iterator[Point]:
    """The point of a group, and that of several passes where it made them."""
    group = width.summary.group
    kind = "baseline" if group.topology == BASELINE_TOPOLOGY else "seeds"
    kind = kind if width.commit is None else "old baseline"
    name = series(group, among)
    for column, title in {"macro_f1": name, "passes_macro_f1": f"{name}, several passes"}.items():
        if (score := width.summary.scores.get(column)) is not None:
            yield Point(kind, title, width.weight_bytes, score.mean, error(score, images), group.bits)


def _literature(entries: Iterable[Entry]) -> list[Point]:
    return [
        Point(entry.kind, entry.name, entry.weight_bytes, entry.accuracy, entry.error)
        for entry in entries
        if entry.weight_bytes is not None
    ]
