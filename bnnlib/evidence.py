"""How far the results can be trusted and what they are worth: the sweep's rows, and points beside other networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bnnlib import sweep
from bnnlib.anchors import Anchor
from bnnlib.params import DataName
from bnnlib.sweep import NONE, Run, Summary


class Point(NamedTuple):
    """A network as a point of score against size. ``sd``: standard deviation of the score, None for one value.

    ``kind``: "full" or "binary" (published by this study), "seeds" (mean of a sweep's rows), or `Anchor.kind`.
    """

    kind: str
    name: str
    weight_bytes: int
    score: float
    sd: float | None = None


class Width(NamedTuple):
    """What the seeds of one group came to, and the bytes of its weights."""

    summary: Summary
    weight_bytes: int


def widths(found: Iterable[Run]) -> list[Width]:
    """Mean and standard deviation for each group, in the table's order."""
    table = list(found)
    sizes = {run.group(): run.weight_bytes for run in table}
    return [Width(each, sizes[each.group]) for each in sweep.aggregate(table)]


def points(
    metrics: Mapping[str, Any],
    sizes: Mapping[str, Any],
    names: Mapping[str, str],
    found: Sequence[Run],
    anchors: Iterable[Anchor],
    data: DataName,
) -> list[Point]:
    """The networks of this study, the means of the seeds on the same data set, and on MNIST the anchors.

    ``metrics``, ``sizes``: of reports/, by variant; ``names``: what to call each variant.
    """
    own = [
        Point(variant, names[variant], sizes[variant]["weight_bytes"], result["test"]["macro_f1"])
        for variant, result in metrics.items()
    ]
    published = {result["bits"] for result in metrics.values()}
    swept = [width for width in widths(found) if width.summary.group.dataset == data]
    surrogates = {width.summary.group.surrogate for width in swept} - {NONE}
    seeds = [_mean(width, width.summary.group.bits in published, len(surrogates) > 1) for width in swept]
    others = [Point(anchor.kind, anchor.name, anchor.weight_bytes, anchor.accuracy) for anchor in anchors]
    return [*own, *seeds, *(others if data == "mnist" else [])]


def _mean(width: Width, published: bool, several: bool) -> Point:
    """Named by what tells it from a published network: its bits, its surrogate where there are several, its profile."""
    group, score = width.summary.group, width.summary.scores["macro_f1"]
    names = {
        f"{group.bits} bit{'s' if group.bits > 1 else ''}": not published,
        group.surrogate: several and group.surrogate != NONE,
        f"profile {group.profile}": group.profile not in {"default", NONE},
    }
    name = ", ".join(name for name, told in names.items() if told)
    return Point("seeds", name, width.weight_bytes, score.mean, score.sd)
