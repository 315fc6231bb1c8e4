"""What the networks of a sweep cost, and where that is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import sweeps
from support.topologies import PARAMS

from bnnlib.config.params import NamedTopology
from bnnlib.core import records
from bnnlib.core.files import FileError
from bnnlib.report import comparison, costs
from bnnlib.report.comparison import Width
from bnnlib.report.costs import Network

TOPOLOGIES = PARAMS.topologies
POOLED = {bits: TOPOLOGIES["pooled"].of("mnist", bits) for bits in (1, 4)}


def swept(*rows: dict[str, Any], commit: str | None = None) -> list[Width]:
    """Groups of runs with these fields; the weights are those of their topology where they say nothing else."""
    runs = []
    for number, row in enumerate(rows):
        found = sweeps.run(**{"key": f"{number}", "seed": number, "surrogate": "none", **row})
        shape = TOPOLOGIES[found.topology].of("mnist", found.bits) if found.topology in TOPOLOGIES else None
        size = row.get("weight_bytes", 0 if shape is None else shape.weight_bytes(found.bits))
        runs.append(found.model_copy(update={"weight_bytes": size}))
    return comparison.widths(runs, commit)


def record(*networks: tuple[int, float], topology: str = "pooled") -> dict[str, Any]:
    """A record with this median for each width, and a slower one at another batch size."""
    return {
        "networks": [
            {
                "topology": topology,
                "bits": bits,
                "shape": TOPOLOGIES[topology].of("mnist", bits).model_dump(mode="json"),
                "times": [{"us_per_image": {"median": us}} for us in (median + 1, median, median + 2)],
            }
            for bits, median in networks
        ]
    }


def networks(found: list[Width], measured: Any = None, topologies: Any = TOPOLOGIES) -> list[Network]:
    return costs.networks(found, "mnist", topologies, measured)


def test_a_network_has_the_means_of_its_seeds_and_its_costs() -> None:
    rows = [{"bits": 4, "macro_f1": score, "validation_macro_f1": score - 0.01} for score in (0.98, 0.99)]
    [found] = networks(swept(*rows), record((4, 7.0), (1, 2.0)))
    assert (str(found), found.n, found.in_family) == ("pooled (4 bits)", 2, True)
    assert (found.score.mean, found.score.sd) == (pytest.approx(0.985), pytest.approx(0.005 * 2**0.5))
    assert found.validation == pytest.approx(0.975)
    assert found.weight_bytes == POOLED[4].weight_bytes(4)
    assert found.millions == pytest.approx(POOLED[4].macs / 1e6)
    assert found.microseconds == 7.0


def test_operations_of_one_bit_are_those_of_its_bit_planes() -> None:
    one, four = networks(swept({"bits": 4}, {"bits": 1, "surrogate": "ste"}))
    assert (one.millions, four.millions) == (POOLED[1].macs / 1e6, POOLED[4].macs / 1e6)
    assert one.millions > four.millions  # it has four planes to convolve


@pytest.mark.parametrize("measured", [None, {"networks": []}, record((16, 3.0)), record((4, 3.0), topology="baseline")])
def test_without_its_time_a_network_has_its_operations(measured: Any) -> None:
    [found] = networks(swept({"bits": 4}), measured)
    assert found.microseconds is None
    assert found.millions is not None


def test_a_time_without_measurements_is_not_known() -> None:
    measured = record((4, 3.0))
    measured["networks"][0]["times"] = []
    assert networks(swept({"bits": 4}), measured)[0].microseconds is None


@pytest.mark.parametrize(
    "row", [{"bits": 4, "topology": "gone"}, {"bits": 4, "weight_bytes": 5}], ids=["unknown", "of another size"]
)
def test_a_topology_that_the_parameters_do_not_have_has_bytes_alone(row: dict[str, Any]) -> None:
    [found] = networks(swept(row), record((4, 3.0)))
    assert (found.millions, found.microseconds) == (None, None)
    assert found.weight_bytes == row.get("weight_bytes", 0)
    assert costs.lacking([found], lambda each: each.millions) == [str(found)]
    assert costs.lacking([found], lambda each: each.weight_bytes) == []


def test_a_time_of_a_shape_that_has_changed_since_is_not_taken() -> None:
    blocks = [block.model_copy(update={"channels": block.channels + 8}) for block in TOPOLOGIES["pooled"].blocks]
    changed = {"pooled": NamedTopology(input=TOPOLOGIES["pooled"].input, blocks=tuple(blocks))}
    size = changed["pooled"].of("mnist", 4).weight_bytes(4)
    [found] = networks(swept({"bits": 4, "weight_bytes": size}), record((4, 3.0)), changed)
    assert found.millions is not None
    assert found.microseconds is None


def test_other_data_sets_and_rows_of_another_commit_are_left_out() -> None:
    found = swept({"bits": 4}, {"bits": 4, "dataset": "kmnist"}) + swept({"bits": 2}, commit="59841fe")
    assert [(each.group.bits, each.n) for each in networks(found)] == [(4, 1)]


def test_narrow_and_small_networks_come_first() -> None:
    rows = [
        {"bits": bits, "topology": name} for bits in (4, 2) for name in ("pooled", "baseline")
    ]  # the larger one first
    assert [str(each) for each in networks(swept(*rows))] == [
        *(f"{name} ({bits} bits)" for bits in (2, 4) for name in ("baseline", "pooled"))
    ]


def test_the_record_is_read_if_it_is_the_one_that_was_noted(tmp_path: Path) -> None:
    assert costs.read(tmp_path) is None
    path = tmp_path / costs.RECORD
    path.write_text(json.dumps(record((4, 3.0))))
    with pytest.raises(FileError, match=costs.RECORD):
        costs.read(tmp_path)
    records.note(path)
    assert costs.read(tmp_path) == record((4, 3.0))
