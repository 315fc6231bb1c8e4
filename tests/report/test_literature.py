"""The table of published networks: how it is read, and what the committed one must hold together."""

from __future__ import annotations

import re

import pytest
from support.paths import ROOT

from bnnlib.report import literature
from bnnlib.report.literature import Anchor, AnchorError

PAGE = ROOT / "docs/anchors.md"
HEAD = f"| {' | '.join(literature.HEADS)} |\n{'| --- ' * len(literature.HEADS)}|\n"
ROW = "| A net | 8 | 1 | 1 | 1,000 | 125 | 98.5% | [1] |\n"


def test_a_row_is_a_network() -> None:
    [found] = literature.parse(f"# Title\n\n{HEAD}{ROW}\n| not | of the table |\n", "page")
    assert found == Anchor("A net", 8, 1, 1, 1_000, 125, pytest.approx(0.985, abs=1e-15))


@pytest.mark.parametrize(
    ("bits", "kind"),
    [
        ((1, 1, 1), "throughout"),
        ((8, 1, 1), "wider input"),
        ((8, 32, 1), "full precision"),
        ((1, 1, 8), "full precision"),
    ],
)
def test_the_kind_follows_from_the_bits(bits: tuple[int, int, int], kind: str) -> None:
    assert Anchor("", *bits, weights=1, weight_bytes=1, accuracy=0.5).kind == kind


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("| A net | 8 | 1 | 1 | 1,000 | 125 | 98.5% |", "not enough values"),
        ("| A net | 8 | 1 | 1 | many | 125 | 98.5% | [1] |", "'many'"),
        ("| A net | 8 | 1 | 1 | 1,000 | 125 | high | [1] |", "'high'"),
        ("| A net | 8 | 1 | 1 | 1,000 | 125 | 7 | 98.5% | [1] |", "too many values"),
    ],
)
def test_a_faulty_row_is_named_by_its_line(row: str, reason: str) -> None:
    with pytest.raises(AnchorError) as caught:
        literature.parse(f"{HEAD}{ROW}{row}\n", "page")
    assert str(caught.value).startswith(f"page, line 4: {row}: expected 8 cells, network, input bits, ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(("text", "count"), [("nothing", 0), (HEAD + HEAD, 2)])
def test_there_must_be_one_table(text: str, count: int) -> None:
    with pytest.raises(AnchorError, match=f"page: {count} tables with the columns network, "):
        literature.parse(text, "page")


def test_the_committed_bytes_follow_from_weights_and_bits() -> None:
    found = literature.parse(PAGE.read_text(encoding="utf-8"), PAGE.name)
    mixed = {"XNOR LeNet": (425_000, 5_500)}  # weights of 1 bit, and of 32
    for anchor in found:
        single, wide = mixed.get(anchor.name, (anchor.weights, 0))
        assert single + wide == anchor.weights
        assert anchor.weight_bytes == single * anchor.weight_bits / 8 + wide * 4, anchor.name
        assert 0.9 < anchor.accuracy < 1
    assert {anchor.kind for anchor in found} == {"throughout", "wider input", "full precision"}
    assert len({anchor.name for anchor in found}) == len(found)


@pytest.mark.parametrize(
    ("units", "name"), [(64, "TFC_1W1A"), (256, "SFC_1W1A"), (1_024, "LFC_1W1A"), (4_096, "BinaryNet MLP")]
)
def test_the_committed_weights_are_those_of_three_hidden_layers(units: int, name: str) -> None:
    [found] = [each for each in literature.parse(PAGE.read_text(encoding="utf-8"), "page") if each.name == name]
    assert found.weights == 784 * units + 2 * units**2 + 10 * units


def test_every_committed_row_names_a_source_that_the_page_lists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    cited = set(re.findall(r"\| \[(\d)\] \|$", text, flags=re.MULTILINE))
    listed = re.findall(r"^(\d)\. ", text, flags=re.MULTILINE)
    assert listed == sorted(cited)
