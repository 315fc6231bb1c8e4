"""The draws of bit errors together, and a table that is missing or damaged."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import reports

from bnnlib.core.files import FileError
from bnnlib.report import robustness
from bnnlib.report.figures import robustness as figure
from bnnlib.report.figures.style import COLOURS
from bnnlib.report.parts.robustness import bit_errors
from bnnlib.report.parts.source import Source
from bnnlib.robustness.measure import Row

TABLE = pd.read_csv(io.StringIO(reports.ROBUSTNESS))
SUMMARY = robustness.summary(TABLE)


def rows_of(bits: int, kind: str) -> pd.DataFrame:
    return SUMMARY[(SUMMARY["bits"] == bits) & (SUMMARY[robustness.KIND] == kind)]


def test_the_columns_are_those_of_the_stage() -> None:
    assert tuple(TABLE.columns) == Row._fields
    assert {*robustness.NUMBERS, robustness.KIND} == set(Row._fields)


def test_the_draws_of_a_share_are_one_row() -> None:
    assert len(SUMMARY) == 2 * 2 * 3
    none, few, many = rows_of(1, "all").to_dict("records")
    assert (none["draws"], none["mean"], none["minimum"]) == (1, 0.98, 0.98)
    assert math.isnan(none["sd"])
    assert (few["share"], few["flips"], few["stored_bits"], few["draws"]) == (0.001, 3, 3_000, 2)
    assert few["mean"] == pytest.approx(0.97)
    assert few["sd"] == pytest.approx(0.02 / 2**0.5)  # of the sample
    assert (many["minimum"], many["maximum"]) == (0.1, 0.5)
    assert many["not_finite"] == pytest.approx(0.2)


def test_the_order_of_the_draws_does_not_matter() -> None:
    pd.testing.assert_frame_equal(robustness.summary(TABLE[::-1]), SUMMARY)


@pytest.mark.parametrize(
    ("bits", "kind", "flips"),
    [
        (1, "all", 3),  # just one point lower
        (1, "weights", 200),
        (16, "all", 0),
        (16, "weights", 0),  # where more errors do less, it is by chance
    ],
)
def test_what_a_network_bears(bits: int, kind: str, flips: int) -> None:
    assert robustness.tolerated(rows_of(bits, kind))["flips"] == flips


def test_metrics_are_the_means_by_network_kind_and_share() -> None:
    found = robustness.metrics(TABLE)
    assert len(found) == len(SUMMARY)
    assert found["robustness.16_bit.weights.0.001.accuracy"] == pytest.approx(0.7)


def test_a_table_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "robustness.csv"
    path.write_text(reports.ROBUSTNESS)
    pd.testing.assert_frame_equal(robustness.read(path), TABLE)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("accuracy", "right", "accuracy"),
        ("0.98", "many", "accuracy"),
        ("0.98", "", "accuracy"),
        ("bits_flipped", "kind", "bits_flipped"),
        ("share,", "", "share"),
    ],
)
def test_a_damaged_table_is_refused(old: str, new: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "robustness.csv"
    path.write_text(reports.ROBUSTNESS.replace(old, new, 1))
    with pytest.raises(FileError, match=rf"robustness.csv: .*\b{named}\b.*`dvc unfreeze robustness && .*`"):
        robustness.read(path)


@pytest.mark.parametrize("content", [None, reports.ROBUSTNESS.splitlines()[0]])
def test_a_missing_or_empty_table_says_what_makes_it(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "robustness.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileError, match=r"robustness.csv: .*`dvc unfreeze robustness && dvc repro robustness`"):
        robustness.read(path)


def test_the_part_says_what_each_network_bears(tmp_path: Path) -> None:
    text = bit_errors(Source(reports.write(tmp_path), "mnist", "../"))
    assert "![Accuracy against the share of stored bits that is flipped](../reports/figures/robustness.png)" in text
    assert "decide an answer: 1 bit: 3,000; 16 bits: 32,000. Those of weights: 1 bit: 2,000; 16 bits: 30,000." in text
    assert "by 1 percentage point at most: 1 bit: 0.001 (3 bits); 16 bits: none of these." in text
    assert "Where only weights have errors: 1 bit: 0.1 (200 bits); 16 bits: none of these." in text
    assert "at the worst share of all bits: 1 bit: 20%; 16 bits: 100%." in text
    assert "on 50 validation images" in text
    assert "of 2 random draws" in text
    assert text.splitlines()[-5:] == [
        "| share | 1 bit, all | 1 bit, weights | 16 bits, all | 16 bits, weights |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 0 | 0.9800 | 0.9800 | 1.0000 | 1.0000 |",
        "| 0.001 | 0.9700 ± 0.0141 (0.9600) | 0.9800 ± 0.0000 (0.9800) "
        "| 0.1000 ± 0.1414 (0.0000) | 0.7000 ± 0.2828 (0.5000) |",
        "| 0.1 | 0.3000 ± 0.2828 (0.1000) | 0.9750 ± 0.0071 (0.9700) "
        "| 0.0000 ± 0.0000 (0.0000) | 1.0000 ± 0.0000 (1.0000) |",
    ]


def test_a_single_bit_is_one(tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    (folder / "robustness.csv").write_text(reports.ROBUSTNESS.replace("3000,0.001,3,", "3000,0.001,1,"))
    assert "at most: 1 bit: 0.001 (1 bit); 16 bits" in bit_errors(Source(folder, "mnist"))


def test_the_figure_has_a_panel_for_each_kind_with_means_and_ranges() -> None:
    panels = figure.robustness(SUMMARY).axes
    assert [axes.get_xscale() for axes in panels] == ["log", "log"]
    for axes, kind in zip(panels, ("all", "weights"), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert [*lines] == ["1 bit", "8 bits", "16 bits", "chance"]
        assert np.asarray(lines["chance"].get_ydata()).tolist() == [0.1, 0.1]
        assert len(np.asarray(lines["8 bits"].get_xdata())) == 0  # not in the table
        for bits, colour in ((1, COLOURS["binary"]), (16, COLOURS["full"])):
            shown, expected = lines[f"{bits} bit{'s' * (bits > 1)}"], rows_of(bits, kind)[1:]
            assert shown.get_color() == colour
            assert np.asarray(shown.get_xdata()).tolist() == [0.001, 0.1]  # no share of 0
            assert np.asarray(shown.get_ydata()).tolist() == expected["mean"].tolist()
        low, high = axes.collections[0].get_paths()[0].get_extents().intervaly
        narrow = rows_of(1, kind)[1:]
        assert (low, high) == (narrow["minimum"].min(), narrow["maximum"].max())
