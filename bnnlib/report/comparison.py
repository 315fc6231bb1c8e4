"""How far the results can be trusted and what they are worth: the sweep's rows, and points beside other networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib.data.mnist import DataName
from bnnlib.report.literature import Anchor
from bnnlib.sweeps import grid, tables
from bnnlib.sweeps.grid import NONE, Group, Run, Summary


class Point(NamedTuple):
    """A network as a point of score against size. ``sd``: standard deviation of the score, None for one value.

    ``kind``: "full" or "binary" (published by this study), "seeds" (mean of a sweep's rows), "baseline" (the same of
    the topology that the study started from), or `Anchor.kind`.
    """

    kind: str
    name: str
    weight_bytes: int
    score: float
    sd: float | None = None


class Width(NamedTuple):
    """What the seeds of one group came to, and the bytes of its weights.

    ``commit``: the one that measured them, where it is not this one.
    """

    summary: Summary
    weight_bytes: int
    commit: str | None = None


def swept(reports: Path) -> list[Width]:
    """What the sweep's table in a folder of reports comes to, then the baseline's, as an earlier commit measured it."""
    old = tables.baseline_rows(reports / tables.BASELINE_TABLE)
    return [
        *widths(tables.rows(reports / "sweep.csv", Run)),
        *widths(old, tables.BASELINE_COMMIT),
    ]


def widths(found: Iterable[Run], commit: str | None = None) -> list[Width]:
    """Mean and standard deviation for each group, in the table's order."""
    table = list(found)
    sizes = {run.group(): run.weight_bytes for run in table}
    return [Width(each, sizes[each.group], commit) for each in grid.aggregate(table)]


def points(
    metrics: Mapping[str, Any],
    sizes: Mapping[str, Any],
    names: Mapping[str, str],
    found: Sequence[Width],
    anchors: Iterable[Anchor],
    data: DataName,
) -> list[Point]:
    """The networks of this study, the means of the seeds on the same data set, and on MNIST the anchors.

    ``metrics``, ``sizes``: of reports/, by variant; ``names``: what to call each variant; ``found``: `swept`.
    """
    own = [
        Point(variant, names[variant], sizes[variant]["weight_bytes"], result["test"]["macro_f1"])
        for variant, result in metrics.items()
    ]
    published = {result["bits"] for result in metrics.values()}
    here = [width for width in found if width.summary.group.dataset == data]
    now = [width for width in here if width.commit is None]
    seeds = [_point("seeds", width, _name(width.summary.group, now, published)) for width in now]
    old = [_point("baseline", each, grid.width(each.summary.group.bits)) for each in here if each.commit is not None]
    others = [Point(anchor.kind, anchor.name, anchor.weight_bytes, anchor.accuracy) for anchor in anchors]
    return [*own, *seeds, *old, *(others if data == "mnist" else [])]


def _point(kind: str, width: Width, name: str) -> Point:
    score = width.summary.scores["macro_f1"]
    return Point(kind, name, width.weight_bytes, score.mean, score.sd)


def _name(group: Group, among: Sequence[Width], published: set[int]) -> str:
    """What tells a group from the others and from the published networks, which have names of their own."""
    topologies = {width.summary.group.topology for width in among}
    surrogates = {width.summary.group.surrogate for width in among} - {NONE}
    names = {
        group.topology: len(topologies) > 1,
        grid.width(group.bits): len(topologies) > 1 or group.bits not in published,
        group.surrogate: len(surrogates) > 1 and group.surrogate != NONE,
    }
    return ", ".join(name for name, told in names.items() if told)
