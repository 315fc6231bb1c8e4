"""The sweep's rows and the points of the figure of score against size."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from support import sweeps
from support.paths import ROOT

from bnnlib.core import records
from bnnlib.core.files import FileError
from bnnlib.report import comparison
from bnnlib.report.comparison import Point
from bnnlib.report.literature import Entry
from bnnlib.scoring.metrics import standard_error
from bnnlib.sweeps import tables
from bnnlib.sweeps.results import Run

METRICS: dict[str, Any] = {
    "full": {"bits": 16, "test": {"macro_f1": 0.994}},
    "binary": {"bits": 1, "test": {"macro_f1": 0.989}},
}
SIZES = {"full": {"weight_bytes": 111_424}, "binary": {"weight_bytes": 6_964}}
IMAGES = 10_000
OWN = [
    Point("published", "16 bits", 111_424, 0.994, standard_error(0.994, IMAGES), 16),
    Point("published", "1 bit", 6_964, 0.989, standard_error(0.989, IMAGES), 1),
]
ENTRY = Entry("A net", 8, (1,), (1,), 1_000, 125, 0.98, 0.0014, 1, "validation")
UNSIZED = Entry("Another", 8, (1,), (1,), None, None, 0.97, 0.0017, 1, "validation")


def one(kind: str, name: str, bits: int, score: float) -> Point:
    """The point of a single training."""
    return Point(kind, name, 6_964 * bits, score, standard_error(score, IMAGES), bits)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    sweeps.write(tmp_path / "sweep.csv")
    return tmp_path / "sweep.csv"


def runs(path: Path) -> list[Run]:
    return [run for run, _ in tables.read(path)]


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / tables.BASELINE_TABLE
    sweeps.write_baseline(path)
    return path


def test_the_rows_are_those_written(table: Path) -> None:
    found = runs(table)
    assert [(*run.group(), run.seed, run.macro_f1) for run in found] == [*sweeps.ROWS]
    assert found[3].key == "0000000000000003"


def test_the_baselines_rows_are_those_of_the_old_table_without_the_profile_record(baseline: Path) -> None:
    found = tables.baseline_rows(baseline)
    assert [(*run.group(), run.seed, run.macro_f1) for run in found] == [
        (data, "baseline", bits, surrogate, seed, score)
        for data, bits, surrogate, profile, seed, score in sweeps.BASELINE_ROWS
        if profile != "record"
    ]
    assert [(run.epoch, run.weight_bytes, run.key) for run in found[1:3]] == [
        (30, 6_964, "0000000000000001"),
        (31, 6_964, "0000000000000002"),
    ]


def test_the_committed_table_of_the_baseline_holds_what_its_commit_gave() -> None:
    path = ROOT / "reports" / tables.BASELINE_TABLE
    found = {
        (each.summary.group.dataset, each.summary.group.bits): each
        for each in comparison.widths(tables.baseline_rows(path))
    }
    assert [*found] == [("fashion_mnist", 1), ("fashion_mnist", 16), *(("mnist", bits) for bits in (1, 2, 4, 8, 16))]
    for bits, mean, sd in ((1, "0.9902", "0.0007"), (16, "0.9952", "0.0003")):
        score = found["mnist", bits].summary.scores["macro_f1"]
        assert found["mnist", bits].summary.n == 5
        assert (f"{score.mean:.4f}", f"{score.sd:.4f}") == (mean, sd)
    assert {each.summary.group.topology for each in found.values()} == {"baseline"}
    assert {each.weight_bytes * 8 for each in found.values()} == {55_712 * bits for bits in (1, 2, 4, 8, 16)}


def test_an_empty_table_and_none_at_all_have_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    assert runs(path) == []
    assert tables.baseline_rows(path) == []
    tables.Tables(path).write()
    assert runs(path) == []
    assert comparison.widths([]) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.98,", "good,", ", line 5: macro_f1: 'good': Input should be a valid number"),
        ("macro_f1", "f1", ": columns are ['dataset', 'topology', 'bits', 'surrogate', 'seed', 'epoch', 'f1'"),
        ("0.98,", "nan,", ", line 5: macro_f1: 'nan': Input should be a finite number"),
    ],
)
def test_a_table_with_an_error_is_named(table: Path, old: str, new: str, message: str) -> None:
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        runs(table)
    assert str(caught.value).startswith(f"{table}{message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("profile", "topology", ": columns are ['dataset', 'bits', 'surrogate', 'topology', "),
        ("0.987,", "good,", ", line 4: macro_f1: 'good': Input should be a valid number"),
        ("0000000002", "0000000002,more", ", line 4: "),
    ],
)
def test_an_error_in_the_table_of_the_baseline_is_named(baseline: Path, old: str, new: str, message: str) -> None:
    baseline.write_text(baseline.read_text().replace(old, new, 1))
    records.note(baseline)
    with pytest.raises(FileError) as caught:
        tables.baseline_rows(baseline)
    assert str(caught.value).startswith(f"{baseline}{message}")


def test_each_data_set_topology_width_and_surrogate_is_a_row(table: Path) -> None:
    found = comparison.widths(runs(table))
    assert [(*each.summary.group, each.summary.n) for each in found] == [
        ("fashion_mnist", "pooled", 1, "ste", 1),
        ("mnist", "large", 1, "ste", 1),
        ("mnist", "pooled", 1, "approx", 1),
        ("mnist", "pooled", 1, "ste", 3),
        ("mnist", "pooled", 2, "none", 1),
        ("mnist", "pooled", 16, "none", 2),
    ]
    assert [each.weight_bytes for each in found] == [6_964, 6_964, 6_964, 6_964, 13_928, 111_424]
    spread = found[3].summary.scores["macro_f1"]
    assert spread.mean == pytest.approx(0.986, abs=1e-15)
    assert spread.sd == pytest.approx(0.0052915026, abs=1e-9)  # sqrt((6^2 + 4^2 + 2^2) / 2) thousandths


@pytest.mark.usefixtures("table", "baseline")
def test_what_was_swept_is_the_table_then_the_baselines_with_its_commit(tmp_path: Path) -> None:
    found = comparison.swept(tmp_path)
    assert found[:6] == comparison.widths(runs(tmp_path / "sweep.csv"))
    assert {each.commit for each in found[:6]} == {None}
    assert [(*each.summary.group, each.summary.n, each.commit) for each in found[6:]] == [
        ("fashion_mnist", "baseline", 1, "ste", 1, "59841fe"),
        ("mnist", "baseline", 1, "ste", 2, "59841fe"),
        ("mnist", "baseline", 4, "none", 1, "59841fe"),
        ("mnist", "baseline", 16, "none", 2, "59841fe"),
    ]


@pytest.mark.usefixtures("table", "baseline")
def test_points_are_our_networks_the_means_the_baselines_and_the_literature(tmp_path: Path) -> None:
    found = comparison.points(METRICS, SIZES, comparison.swept(tmp_path), [ENTRY, UNSIZED], "mnist")
    assert found[:2] == OWN
    large, approx, ste, two, sixteen = found[2:7]
    assert large == one("seeds", "1 bit, ste", 1, 0.992)
    assert approx == one("seeds", "1 bit, approx", 1, 0.975)
    assert (ste.name, ste.error) == ("1 bit, ste", statistics.stdev([0.98, 0.99, 0.988]))
    assert two == one("seeds", "2 bits", 2, 0.991)
    assert (sixteen.name, sixteen.error) == ("16 bits", statistics.stdev([0.9945, 0.9955]))
    assert found[7:10] == [
        Point("old baseline", "1 bit, ste", 6_964, 0.986, pytest.approx(0.002 / 2**0.5), 1),
        one("old baseline", "4 bits", 4, 0.9925),
        Point("old baseline", "16 bits", 111_424, 0.995, pytest.approx(0.002 / 2**0.5), 16),
    ]
    assert found[10:] == [Point("wider input", "A net", 125, 0.98, 0.0014)]


def test_several_passes_are_points_of_their_own(tmp_path: Path) -> None:
    made = tables.Tables(tmp_path / "sweep.csv")
    made.add(sweeps.run(key="a", macro_f1=0.99, passes_macro_f1=0.995, passes_loss=0.5), [])
    made.add(sweeps.run(key="b", macro_f1=0.994, bits=16, surrogate="none"), [])
    found = comparison.points({}, {}, comparison.swept(tmp_path), [], "mnist")
    assert [(point.kind, point.name, point.score, point.bits) for point in found] == [
        ("seeds", "1 bit", 0.99, 1),
        ("seeds", "1 bit, several passes", 0.995, 1),
        ("seeds", "16 bits", 0.994, 16),
    ]


def test_a_topology_called_baseline_is_in_no_line_of_the_others(tmp_path: Path) -> None:
    sweeps.write(tmp_path / "sweep.csv", (("mnist", "baseline", 1, "ste", 0, 0.98), *sweeps.ROWS[3:7]))
    found = comparison.points(METRICS, SIZES, comparison.swept(tmp_path), [], "mnist")
    assert [(point.kind, point.name) for point in found[2:]] == [
        ("baseline", "1 bit"),
        ("seeds", "1 bit"),
        ("seeds", "2 bits"),
    ]


def test_another_data_set_has_its_own_rows_and_no_literature(table: Path) -> None:
    found = comparison.points(METRICS, SIZES, comparison.swept(table.parent), [ENTRY, UNSIZED], "fashion_mnist")
    assert found == [*OWN, one("seeds", "1 bit", 1, 0.87)]
    assert comparison.points(METRICS, SIZES, [], [ENTRY, UNSIZED], "kmnist") == OWN


def test_the_standard_error_is_that_of_as_many_images_as_there_are() -> None:
    full, binary = comparison.points(METRICS, SIZES, [], [], "mnist", images=400)
    assert binary.error == pytest.approx((0.989 * 0.011) ** 0.5 / 20, abs=1e-15)
    assert full.error == pytest.approx((0.994 * 0.006) ** 0.5 / 20, abs=1e-15)
