"""The networks of the sweep with what they cost: bytes of weights, operations, microseconds an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnnlib.config.params import NamedTopology
from bnnlib.config.topology import Topology
from bnnlib.core import files, records
from bnnlib.data.mnist import DataName
from bnnlib.report import comparison
from bnnlib.report.comparison import BASELINE_TOPOLOGY, Width
from bnnlib.sweeps.results import Group, Spread

RECORD = "benchmark_sizes.json"
MILLION = 1_000_000
Topologies = Mapping[str, NamedTopology]  # of params.yaml


class Network(NamedTuple):
    """The mean of a group's seeds, and its costs; None for a cost that is not known.

    ``series``: see `comparison.series`. ``validation``: mean macro-F1 on validation images. ``score``: macro-F1 on test
    images. ``millions``: of operations, XNOR and count of one bit in a 1-bit network, multiply-adds in the others.
    """

    group: Group
    series: str
    n: int
    validation: float
    score: Spread
    weight_bytes: int
    millions: float | None
    microseconds: float | None

    @property
    def in_family(self) -> bool:
        """Whether it has the kind of topology that this study compares by size."""
        return self.group.topology != BASELINE_TOPOLOGY

    def __str__(self) -> str:
        return f"{self.group.topology} ({self.series})"


Cost = Callable[[Network], float | None]


def networks(
    found: Iterable[Width], data: DataName, topologies: Topologies, record: Mapping[str, Any] | None
) -> list[Network]:
    """The networks that the sweep of this commit trained on a data set, narrow ones first, small ones first.

    ``found``: `comparison.swept`; ``record``: of `read`. A cost is known where the topologies of params.yaml and of the
    record still have the size that the sweep trained.
    """
    here = [width for width in found if width.summary.group.dataset == data and width.commit is None]
    times = {} if record is None else _times(record)
    return sorted(
        (_network(width, here, _shape(width, data, topologies), times) for width in here),
        key=lambda each: (each.group.bits, each.weight_bytes, each.group),
    )


def read(reports: Path) -> dict[str, Any] | None:
    """The record of the times, None where there is none; `FileError` where it is not the one that was noted."""
    path = reports / RECORD
    if not path.exists():
        return None
    records.check(path)
    found: dict[str, Any] = files.read_json(path)
    return found


def lacking(found: Iterable[Network], cost: Cost) -> list[str]:
    """The names of the networks whose cost is not known."""
    return [str(network) for network in found if cost(network) is None]


def _shape(width: Width, data: DataName, topologies: Topologies) -> Topology | None:
    """The topology of a group, None where params.yaml has none of its name and size."""
    group = width.summary.group
    if group.topology not in topologies:
        return None
    found = topologies[group.topology].of(data, group.bits)
    return found if found.weight_bytes(group.bits) == width.weight_bytes else None


def _times(record: Mapping[str, Any]) -> dict[tuple[int, Topology], float]:
    """The fastest median of each network, by its bits and topology."""
    return {
        (each["bits"], Topology.model_validate(each["shape"])): min(
            time["us_per_image"]["median"] for time in each["times"]
        )
        for each in record["networks"]
        if each["times"]
    }


def _network(
    width: Width, among: Sequence[Width], topology: Topology | None, times: Mapping[tuple[int, Topology], float]
) -> Network:
    summary, group = width.summary, width.summary.group
    return Network(
        group=group,
        series=comparison.series(group, among),
        n=summary.n,
        validation=summary.scores["validation_macro_f1"].mean,
        score=summary.scores["macro_f1"],
        weight_bytes=width.weight_bytes,
        millions=None if topology is None else topology.macs / MILLION,
        microseconds=None if topology is None else times.get((group.bits, topology)),
    )
