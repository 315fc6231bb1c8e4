"""The sweep's rows and the points of the figure of score against size."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import sweeps

from bnnlib import evidence, sweep_tables
from bnnlib.anchors import Anchor
from bnnlib.evidence import Point
from bnnlib.files import FileError
from bnnlib.sweep import Run

METRICS: dict[str, Any] = {
    "full": {"bits": 16, "test": {"macro_f1": 0.994}},
    "binary": {"bits": 1, "test": {"macro_f1": 0.989}},
}
SIZES = {"full": {"weight_bytes": 111_424}, "binary": {"weight_bytes": 6_964}}
NAMES = {"full": "full (16 bits)", "binary": "binary (1 bit)"}
OWN = [Point("full", "full (16 bits)", 111_424, 0.994), Point("binary", "binary (1 bit)", 6_964, 0.989)]
ANCHOR = Anchor("A net", 8, 1, 1, 1_000, 125, 0.98)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    sweeps.write(tmp_path / "sweep.csv")
    return tmp_path / "sweep.csv"


def test_the_rows_come_without_the_table_of_epochs(table: Path) -> None:
    found = sweep_tables.rows(table, Run)
    assert [(*run.group(), run.seed, run.macro_f1) for run in found] == [*sweeps.ROWS]
    assert found[3].key == "0000000000000003"


def test_an_empty_table_and_none_at_all_have_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    assert sweep_tables.rows(path, Run) == []
    path.write_text(f"{sweeps.HEAD}\n")
    assert sweep_tables.rows(path, Run) == []
    assert evidence.widths([]) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.98,", "good,", ", line 4: macro_f1: 'good': Input should be a valid number"),
        ("macro_f1", "f1", ": columns are ['dataset', 'bits', 'surrogate', 'profile', 'seed', 'epoch', 'f1'"),
        ("0.98,", "nan,", ", line 4: macro_f1: 'nan': Input should be a finite number"),
    ],
)
def test_a_faulty_table_is_named(table: Path, old: str, new: str, message: str) -> None:
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        sweep_tables.rows(table, Run)
    assert str(caught.value).startswith(f"{table}{message}")


def test_each_data_set_width_surrogate_and_profile_is_a_row(table: Path) -> None:
    found = evidence.widths(sweep_tables.rows(table, Run))
    assert [(*each.group, each.n) for each, _ in found] == [
        ("fashion_mnist", 1, "ste", "default", 1),
        ("mnist", 1, "approx", "default", 1),
        ("mnist", 1, "ste", "default", 3),
        ("mnist", 1, "ste", "record", 1),
        ("mnist", 2, "none", "none", 1),
        ("mnist", 16, "none", "none", 2),
    ]
    assert [each.weight_bytes for each in found] == [6_964, 6_964, 6_964, 6_964, 13_928, 111_424]
    spread = found[2].summary.scores["macro_f1"]
    assert spread.mean == pytest.approx(0.986, abs=1e-15)
    assert spread.sd == pytest.approx(0.0052915026, abs=1e-9)  # sqrt((6^2 + 4^2 + 2^2) / 2) thousandths


def test_points_are_our_networks_the_means_and_the_anchors(table: Path) -> None:
    found = evidence.points(METRICS, SIZES, NAMES, sweep_tables.rows(table, Run), [ANCHOR], "mnist")
    assert found[:2] == OWN
    approx, ste, record, two, sixteen = found[2:7]
    assert approx == Point("seeds", "approx", 6_964, 0.975)
    assert (ste.name, ste.sd) == ("ste", statistics.stdev([0.98, 0.99, 0.988]))
    assert record == Point("seeds", "ste, profile record", 6_964, 0.992)
    assert two == Point("seeds", "2 bits", 13_928, 0.991)
    assert (sixteen.name, sixteen.sd) == ("", statistics.stdev([0.9945, 0.9955]))  # beside the full network's name
    assert found[7:] == [Point("wider input", "A net", 125, 0.98)]


def test_another_data_set_has_its_own_rows_and_no_anchors(table: Path) -> None:
    found = evidence.points(METRICS, SIZES, NAMES, sweep_tables.rows(table, Run), [ANCHOR], "fashion_mnist")
    assert found == [*OWN, Point("seeds", "", 6_964, 0.87)]
    assert evidence.points(METRICS, SIZES, NAMES, [], [ANCHOR], "kmnist") == OWN
