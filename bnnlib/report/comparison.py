"""The sweeps' scores by group, and the points of the figure of score against size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib.data.mnist import PART_SIZES, DataName
from bnnlib.report.literature import Entry
from bnnlib.scoring.metrics import standard_error
from bnnlib.sweeps import results, tables
from bnnlib.sweeps.results import NONE, Group, Run, Summary


class Point(NamedTuple):
    """A network as a point of score against size.

    ``kind``: "full" or "binary" (published by this study), "seeds" (mean of a sweep's rows), "baseline" (the same of
    the topology that the study started from), or `Entry.kind`. ``error``: the score's standard error for one network
    (a macro-F1 is treated as an accuracy), the standard deviation for the mean of several.
    """

    kind: str
    name: str
    weight_bytes: int
    score: float
    error: float


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
    names: Mapping[str, str],
    found: Sequence[Width],
    literature: Iterable[Entry],
    data: DataName,
    images: int = PART_SIZES["test"],
) -> list[Point]:
    """The networks of this study, the sweeps' groups on the same data set, and on MNIST the literature with a size.

    ``metrics``, ``sizes``: of reports/, by variant; ``names``: what to call each variant; ``found``: `swept`;
    ``images``: how many the test set has.
    """
    published = {result["bits"] for result in metrics.values()}
    here = [width for width in found if width.summary.group.dataset == data]
    now = [width for width in here if width.commit is None]
    old = [width for width in here if width.commit is not None]
    return [
        *(_own(variant, names[variant], sizes[variant], result, images) for variant, result in metrics.items()),
        *(_group("seeds", width, _name(width.summary.group, now, published), images) for width in now),
        *(_group("baseline", width, results.width(width.summary.group.bits), images) for width in old),
        *(_literature(literature) if data == "mnist" else []),
    ]


def _own(variant: str, name: str, size: Mapping[str, Any], result: Mapping[str, Any], images: int) -> Point:
    score = result["test"]["macro_f1"]
    return Point(variant, name, size["weight_bytes"], score, standard_error(score, images))


def _group(kind: str, width: Width, name: str, images: int) -> Point:
    score = width.summary.scores["macro_f1"]
    error = standard_error(score.mean, images) if score.sd is None else score.sd
    return Point(kind, name, width.weight_bytes, score.mean, error)


def _literature(entries: Iterable[Entry]) -> list[Point]:
    return [
        Point(entry.kind, entry.name, entry.weight_bytes, entry.accuracy, entry.error)
        for entry in entries
        if entry.weight_bytes is not None
    ]


def _name(group: Group, among: Sequence[Width], published: set[int]) -> str:
    """What distinguishes a group from the others and from the published networks, which have names of their own."""
    topologies = {width.summary.group.topology for width in among}
    surrogates = {width.summary.group.surrogate for width in among} - {NONE}
    names = {
        group.topology: len(topologies) > 1,
        results.width(group.bits): len(topologies) > 1 or group.bits not in published,
        group.surrogate: len(surrogates) > 1 and group.surrogate != NONE,
    }
    return ", ".join(name for name, needed in names.items() if needed)
