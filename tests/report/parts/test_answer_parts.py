"""What one bit gains and loses, as the page says it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import benchmarks, reports, sweeps
from support.figure_data import network
from support.topologies import PARAMS

from bnnlib.core import files, records
from bnnlib.report import costs
from bnnlib.report.costs import Network
from bnnlib.report.parts import answer
from bnnlib.report.parts.source import Source
from bnnlib.sweeps.results import Spread

# At 20 bytes one bit is 0.01 higher, at 30 as good, at 40 lower by 0.01; the spread of each is 0.0006.
NETWORKS = [
    network("a", 1, 0.97, weight_bytes=10, millions=2.0, microseconds=1.0),
    network("a", 2, 0.96, weight_bytes=20, millions=1.0, microseconds=8.0),
    network("b", 2, 0.9701, weight_bytes=30, millions=3.0, microseconds=9.0),
    network("b", 16, 0.98, weight_bytes=40, millions=4.0, microseconds=9.5),
]


def source(networks: list[Network]) -> Any:
    """A source of these networks, without files."""
    return SimpleNamespace(networks=networks, report=lambda name: f"[{name}]")


def lines(networks: list[Network]) -> list[str]:
    return answer.sentences(source(networks)).splitlines()


def rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table below its heads."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:] if "|" in line]


def test_a_sentence_for_each_cost_says_where_one_bit_is_higher_as_good_and_lower() -> None:
    by_bytes, by_operations, by_time = lines(NETWORKS)
    assert by_bytes == (
        "- **At equal bytes**: one bit scores higher at 20 bytes (by 0.0100); there is no clear difference at 30 "
        "bytes; one bit scores lower from 40 bytes on (by 0.0100). Below 20 bytes there are only 1-bit networks, the "
        "best with 0.9700. No 1-bit network above 10 bytes was trained."
    )
    assert by_operations.startswith("- **At equal operations**: one bit scores higher at 2.00 million (by 0.0100); ")
    assert "Below 2.00 million there are only wider networks, the best with 0.9600." in by_operations
    assert by_time.startswith("- **At equal time**: one bit scores higher at 8.0 µs (by 0.0100); there")


def test_neighbouring_budgets_of_one_verdict_are_said_together() -> None:
    more = network("c", 1, 0.99, weight_bytes=25)
    [by_bytes, *_] = lines([*NETWORKS, more])
    assert "one bit scores higher from 20 bytes on (by 0.0100 to 0.0300)" in by_bytes


def test_no_difference_is_claimed_from_single_seeds() -> None:
    single = [each._replace(n=1, score=Spread(each.score.mean, None)) for each in NETWORKS]
    [by_bytes, *_] = lines(single)
    assert "there is no clear difference from 20 bytes on (single seeds)." in by_bytes
    assert not re.search(r"higher|lower", by_bytes)
    assert {row[6] for row in rows(answer.at_equal_bytes(source(single)))} == {"one seed"}
    [partly, *_] = lines([NETWORKS[0], NETWORKS[1]._replace(score=Spread(0.97, 0.0005)), *single[2:]])
    assert "there is no clear difference from 20 bytes on (2 of 3 from single seeds)." in partly


@pytest.mark.parametrize(
    ("kept", "lacking"),
    [([], "no 1-bit and no wider"), (NETWORKS[:1], "no wider"), (NETWORKS[1:], "no 1-bit")],
)
def test_without_both_kinds_the_part_says_what_is_missing(kept: list[Network], lacking: str) -> None:
    assert lines(kept) == [f"Not known yet: [sweep.csv] has {lacking} network on this data set."]
    assert answer.at_equal_bytes(source(kept)).startswith("Not known yet: ")


def test_without_times_that_sentence_says_how_to_measure_them() -> None:
    untimed = [each._replace(microseconds=None) for each in NETWORKS]
    by_bytes, _, by_time = lines(untimed)
    assert by_bytes == lines(NETWORKS)[0]
    assert by_time == "- **At equal time**: not known yet; `bnn benchmark --sizes --save` measures it."
    text = answer.at_equal_time(source(untimed))
    assert "a (1 bit), a (2 bits), b (2 bits), b (16 bits); `bnn benchmark --sizes --save` measures it." in text
    assert rows(text) == []


def test_one_network_without_a_cost_is_named_below_the_table_of_the_others() -> None:
    partly = [*NETWORKS[:3], NETWORKS[3]._replace(millions=None)]
    text = answer.at_equal_operations(source(partly))
    assert len(rows(text)) == 2
    assert text.endswith(
        "Left out, because their cost in operations is not known: b (16 bits); params.yaml has no topology of that "
        "name and size."
    )


def test_the_table_has_both_networks_their_costs_and_the_difference() -> None:
    text = answer.at_equal_bytes(source(NETWORKS))
    assert text.startswith("| bytes at most | best 1-bit network | macro-F1 | best wider network |")
    one = ["a (1 bit): 10", "0.9700 ± 0.0005 (5)"]
    assert rows(text) == [
        ["20", *one, "a (2 bits): 20", "0.9600 ± 0.0005 (5)", "+0.0100", "0.0006", "higher"],
        ["30", *one, "b (2 bits): 30", "0.9701 ± 0.0005 (5)", "-0.0001", "0.0006", "no clear difference"],
        ["40", *one, "b (16 bits): 40", "0.9800 ± 0.0005 (5)", "-0.0100", "0.0006", "lower"],
    ]


def test_no_minus_before_a_difference_of_zero() -> None:
    [row] = rows(answer.at_equal_bytes(source([network("a", 1, 0.96999), network("a", 2, 0.97)])))
    assert row[5] == "+0.0000"


def test_a_row_for_each_topology_and_a_column_for_each_width() -> None:
    text = answer.widths(source(sorted(NETWORKS, key=lambda each: each.group.bits)))
    assert text.splitlines()[0] == "| topology | 1 bit | 2 bits | 16 bits |"
    # b is the smaller one: 40 bytes of 16 bits
    assert rows(text) == [
        ["b", "", "0.9701 ± 0.0005 (5), 30", "0.9800 ± 0.0005 (5), 40"],
        ["a", "0.9700 ± 0.0005 (5), 10", "0.9600 ± 0.0005 (5), 20", ""],
    ]
    assert text.endswith("From [sweep.csv].")


def test_the_topology_baseline_is_in_the_table_of_all_and_in_no_comparison() -> None:
    other = network("baseline", 1, 0.999, weight_bytes=1)
    assert lines([*NETWORKS, other]) == lines(NETWORKS)
    assert ["baseline", "0.9990 ± 0.0005 (5), 1", "", ""] in rows(answer.widths(source([other, *NETWORKS])))


def test_from_the_files_of_the_reports(tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    size = {bits: PARAMS.topologies["pooled"].of("mnist", bits).weight_bytes(bits) for bits in (1, 4)}
    written = [("mnist", "pooled", 1, "ste", 0, 0.98), ("mnist", "pooled", 4, "none", 0, 0.99)]
    sweeps.write(folder / "sweep.csv", tuple(written), sizes=size)
    files.write_json(folder / costs.RECORD, benchmarks.sizes_as_json())
    records.note(folder / costs.RECORD)
    found = answer.at_equal_time(Source(folder, "mnist", "../", PARAMS.topologies))
    assert [row[:4:3] for row in rows(found)] == [["30.0", "pooled (4 bits): 30.0"]]
    assert "pooled (1 bit): 2.0" in found
    unnamed = Source(folder, "mnist")  # without topologies nothing but the bytes is known
    assert "params.yaml has no topology of that name" in answer.at_equal_operations(unnamed)
    assert "../reports/figures/cost.png" in answer.cost(Source(folder, "mnist", "../"))
