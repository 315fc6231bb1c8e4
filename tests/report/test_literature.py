"""The table of other people's results: how it is read, and what the committed one must agree with."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.paths import ROOT

from bnnlib.report import literature
from bnnlib.report.literature import Entry, LiteratureError
from bnnlib.scoring.metrics import standard_error

PAGE = ROOT / "docs/literature.md"
HEAD = f"| {' | '.join(literature.HEADS)} |\n{'| --- ' * len(literature.HEADS)}|\n"
ROW = "| A net | 8 | 1 | 1 | 1,000 | 125 | 98.5% | 0.12 | validation | [1] |\n"
ENTRY = Entry("A net", 8, (1,), (1,), 1_000, 125, 0.985, 0.0012, 1, "validation")


def committed() -> list[Entry]:
    return literature.parse(PAGE.read_text(encoding="utf-8"), PAGE.name)


def named(name: str) -> Entry:
    [found] = [entry for entry in committed() if entry.name == name]
    return found


def approximately(entry: Entry) -> dict[str, Any]:
    return {
        name: pytest.approx(value, abs=1e-15) if name in {"accuracy", "error"} else value
        for name, value in vars(entry).items()
    }


def test_a_row_is_a_network() -> None:
    [found] = literature.parse(f"# Title\n\n{HEAD}{ROW}\n| not | of the table |\n", "page")
    assert vars(found) == approximately(ENTRY)


@pytest.mark.parametrize(
    ("cell", "other", "name", "value"),
    [
        ("| 8 |", "| not said |", "input_bits", None),
        ("| 1 | 1 | 1,000", "| 32, 8 | 1 | 1,000", "activation_bits", (32, 8)),
        ("| 1 | 1 | 1,000", "| not said | 1 | 1,000", "activation_bits", ()),
        ("| 1 | 1,000", "| 8, 2, 4 | 1,000", "weight_bits", (8, 2, 4)),
        ("| 1 | 1,000", "| logic | 1,000", "weight_bits", ()),
        ("1,000", "none", "weights", None),
        ("125", "~5,600", "weight_bytes", 5_600),
        ("125", "not said", "weight_bytes", None),
        ("0.12", "0.05 (5 runs)", "runs", 5),
        ("validation", "test set", "chosen_on", "test set"),
    ],
)
def test_what_a_cell_may_say(cell: str, other: str, name: str, value: object) -> None:
    [found] = literature.parse(HEAD + ROW.replace(cell, other, 1), "page")
    assert getattr(found, name) == value


@pytest.mark.parametrize(
    ("inputs", "activations", "weights", "kind"),
    [
        (1, (1,), (1,), "throughout"),
        (8, (1,), (1,), "wider input"),
        (None, (1,), (1,), "wider input"),
        (8, (32,), (1,), "low bits"),
        (1, (1,), (2,), "low bits"),
        (8, (1,), (1, 32), "low bits"),
        (8, (), (8,), "low bits"),
        (8, (32,), (16,), "full precision"),
        (1, (), (), "logic"),
    ],
)
def test_the_kind_follows_from_the_bits(
    inputs: int | None, activations: tuple[int, ...], weights: tuple[int, ...], kind: str
) -> None:
    assert Entry("", inputs, activations, weights, 1, 1, 0.5, 0.1, 1, "validation").kind == kind


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace(" [1] |", ""), "not enough values"),
        (ROW.replace("125 |", "125 | 7 |"), "too many values"),
        (ROW.replace("1,000", "many"), "'many'"),
        (ROW.replace("98.5%", "high"), "'high'"),
        (ROW.replace("| 1 | 1,000", "| not said | 1,000"), "'not said'"),
        (ROW.replace("0.12", "0.12 of 5 runs"), "± points: '0.12 of 5 runs'"),
        (
            ROW.replace("validation", "luck"),
            "epoch chosen on: 'luck', expected one of last epoch, validation, test set",
        ),
    ],
)
def test_a_row_with_an_error_is_named_by_its_line(row: str, reason: str) -> None:
    with pytest.raises(LiteratureError) as caught:
        literature.parse(f"{HEAD}{ROW}{row}", "page")
    assert str(caught.value).startswith(f"page, line 4: {row.strip()}: ")
    assert reason in str(caught.value)
    assert "10 cells network, input bits, " in str(caught.value)


@pytest.mark.parametrize(("text", "count"), [("nothing", 0), (HEAD + HEAD, 2)])
def test_there_must_be_one_table(text: str, count: int) -> None:
    with pytest.raises(LiteratureError, match=f"page: {count} tables with the columns network, "):
        literature.parse(text, "page")


def test_committed_names_are_unique_and_every_kind_and_choice_occurs() -> None:
    found = committed()
    assert len({entry.name for entry in found}) == len(found)
    assert {entry.kind for entry in found} == {"throughout", "wider input", "low bits", "logic", "full precision"}
    assert {entry.chosen_on for entry in found} == set(literature.CHOICES)
    assert all(0.9 < entry.accuracy < 1 for entry in found)


def test_the_committed_standard_errors_are_those_of_10000_images() -> None:
    several = {}
    for entry in committed():
        if entry.runs == 1:
            assert 100 * entry.error == pytest.approx(100 * standard_error(entry.accuracy, 10_000), abs=0.005), (
                entry.name
            )
        else:
            several[entry.name] = entry.runs
    assert several == {"BayesBiNN MLP": 5}


def test_the_committed_bytes_follow_from_weights_and_bits() -> None:
    """Of the networks with weights of one width; ~ is within half a byte of the 7,890 parameters."""
    checked = 0
    for entry in committed():
        if entry.weights is not None and entry.weight_bytes is not None and len(entry.weight_bits) == 1:
            [bits] = entry.weight_bits
            assert entry.weight_bytes == pytest.approx(entry.weights * bits / 8, abs=0.5), entry.name
            checked += 1
    assert checked == 14


@pytest.mark.parametrize(
    ("units", "name"),
    [(64, "TFC_1W1A"), (256, "SFC_1W1A"), (1_024, "LFC_1W1A"), (4_096, "BinaryNet MLP"), (2_048, "BayesBiNN MLP")],
)
def test_the_committed_weights_are_those_of_three_hidden_layers(units: int, name: str) -> None:
    assert named(name).weights == 784 * units + 2 * units**2 + 10 * units


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("XNOR LeNet", {1: 425_000, 32: 5_500}),
        ("BitNetMCU CNN-16 small", {8: 27 * 16, 2: 4 * 16 * 64, 4: 64 * 48 + 48 * 10}),
        *(
            (f"BitNetMCU CNN-{wide}", {8: 27 * wide, 2: 4 * wide * 96, 4: 96 * 64 + 64 * 10})
            for wide in (16, 32, 48, 64)
        ),
        ("BitNetMCU FC, 1 bit", {1: 256 * 176 + 176 * 160 + 160 * 160 + 160 * 10}),
        ("BitNetMCU FC 12k", {4: 256 * 64 + 2 * 64 * 64 + 64 * 10}),
    ],
)
def test_the_committed_sizes_are_those_of_the_layers(name: str, parts: dict[int, int]) -> None:
    """``parts``: number of weights for each width, as the page describes the layers."""
    entry = named(name)
    assert {*entry.weight_bits} == {*parts}
    assert entry.weights == sum(parts.values())
    assert entry.weight_bytes == sum(bits * weights for bits, weights in parts.items()) / 8


def test_what_the_page_says_about_small_networks_is_true() -> None:
    small = [entry for entry in committed() if entry.weight_bytes is not None and entry.weight_bytes < 10_000]
    good = [entry for entry in small if entry.accuracy >= 0.99]
    assert {entry.kind for entry in good} == {"low bits"}
    assert [entry.name for entry in good] == [f"BitNetMCU CNN-{wide}" for wide in (16, 32, 48)]


def test_the_page_names_the_networks_that_the_figure_cannot_show() -> None:
    *unsized, last = [f"`{entry.name}`" for entry in committed() if entry.weight_bytes is None]
    assert f"not in the figure: {', '.join(unsized)} and {last}." in PAGE.read_text(encoding="utf-8")


def test_the_costs_are_those_of_networks_in_the_table() -> None:
    _, costs = PAGE.read_text(encoding="utf-8").split("| network | cost of an image |\n| --- | ---: |\n")
    names = re.findall(r"^\| ([^|]+) \|", costs, flags=re.MULTILINE)
    assert len(names) == 9
    assert {*names} <= {entry.name for entry in committed()}


def test_every_committed_row_names_a_source_that_the_page_lists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    cited = {int(number) for number in re.findall(r"\| \[(\d+)\] \|$", text, flags=re.MULTILINE)}
    listed = [int(number) for number in re.findall(r"^(\d+)\. ", text, flags=re.MULTILINE)]
    assert listed == sorted(cited) == [*range(1, len(cited) + 1)]
