"""The generated part of the page, and that nothing else of it is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnnlib import readme
from bnnlib.readme import BEGIN, END, ReadmeError

PAGE = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"


def test_only_the_part_between_the_markers_changes() -> None:
    assert readme.updated(PAGE, "new", "page") == f"# Title\n\nbefore\n\n{BEGIN}\n\nnew\n{END}\n\nafter\n"


def test_writing_twice_changes_nothing() -> None:
    once = readme.updated(PAGE, "a\n\nb\n", "page")
    assert once != PAGE
    assert readme.updated(once, "a\n\nb\n", "page") == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"page: the marker {BEGIN} stands there 0 times, expected once"),
        (f"{BEGIN}\n", f"page: the marker {END} stands there 0 times, expected once"),
        (f"{END}\n", f"page: the marker {BEGIN} stands there 0 times, expected once"),
        (f"{BEGIN}{END}{BEGIN}", f"page: the marker {BEGIN} stands there 2 times, expected once"),
        (f"{BEGIN}{END}{END}", f"page: the marker {END} stands there 2 times, expected once"),
        (f"{END}\n{BEGIN}", f"page: the marker {END} stands before {BEGIN}"),
    ],
)
def test_markers_that_are_missing_doubled_or_swapped(text: str, message: str) -> None:
    with pytest.raises(ReadmeError) as caught:
        readme.updated(text, "new", "page")
    assert str(caught.value) == message


def reports_in(folder: Path) -> Path:
    scores = {"macro_f1": 0.98765, "loss": 0.04321, "accuracy": 0.5}
    metrics = {"full": {"bits": 16, "epoch": 7, "test": scores}, "binary": {"bits": 1, "epoch": 9, "test": scores}}
    sizes = {
        "full": {"weight_bytes": 111_424, "file_bytes": 113_656, "packed_bytes": None},
        "binary": {"weight_bytes": 6_964, "file_bytes": 58_424, "packed_bytes": 7_311},
    }
    pairs = {
        "a and b": {"images": 1_000, "dots": 2, "logits": 3, "predictions": 1},
        "a and c": {"images": 1_000, "dots": 0, "logits": 0, "predictions": 0},
    }
    reports = folder / "reports"
    (reports / "figures").mkdir(parents=True)
    (reports / "metrics.json").write_text(json.dumps(metrics))
    (reports / "sizes.json").write_text(json.dumps(sizes))
    (reports / "agreement.json").write_text(json.dumps({"train": pairs, "test": pairs}))
    for name in ("kernel_full_1", "kernel_full_2", "kernel_binary_1", "kernel_binary_2", "loss"):
        (reports / "figures" / f"{name}.png").write_bytes(b"")
    return reports


def test_the_table_holds_the_numbers_of_the_reports(tmp_path: Path) -> None:
    lines = readme.generate(reports_in(tmp_path)).splitlines()
    assert lines[2:4] == [
        "| [full](models/full.safetensors) | 16 | 7 | 0.9877 | 0.0432 | 0.5000 | 111,424 | 113,656 |",
        "| [binary](models/binary.safetensors), [packed](models/binary.bnn) | 1 | 9 | 0.9877 | 0.0432 | 0.5000 | 6,964 "
        "| 7,311 |",
    ]


def test_what_differs_is_added_up_for_each_pair_of_engines(tmp_path: Path) -> None:
    text = readme.generate(reports_in(tmp_path))
    assert "compared on 2,000 images (1,000 train, 1,000 test)" in text
    assert "| a and b | 4 | 6 | 2 |\n| a and c | 0 | 0 | 0 |\n" in text


def test_a_network_that_is_not_packed_is_compared_with_nothing(tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "agreement.json").write_text("{}")
    assert "\nNo engines were compared: only a 1-bit network has a packed form.\n" in readme.generate(reports)


@pytest.mark.parametrize("content", ["[1]", '{"train": {}}', '{"train": {"a and b": {"images": 3}}}', '{"train": 1}'])
def test_a_report_that_lacks_what_the_page_shows(content: str, tmp_path: Path) -> None:
    reports = reports_in(tmp_path)
    (reports / "agreement.json").write_text(content)
    with pytest.raises(ReadmeError, match=r"reports: metrics.json, sizes.json or agreement.json lacks what the page"):
        readme.generate(reports)


def test_figures_are_linked_from_the_page_beside_the_reports(tmp_path: Path) -> None:
    text = readme.generate(reports_in(tmp_path))
    for name in ("loss", "macro_f1", "confusion_full", "confusion_binary"):
        assert text.count(f"](reports/figures/{name}.png)") == 1
    assert "| first-layer kernel | 1 | 2 |" in text
    for variant in ("full", "binary"):
        cells = [f"![kernel_{variant}_{number}](reports/figures/kernel_{variant}_{number}.png)" for number in (1, 2)]
        assert f"| {variant} | {' | '.join(cells)} |" in text


def test_tables_have_as_many_cells_in_every_row(tmp_path: Path) -> None:
    for block in readme.generate(reports_in(tmp_path)).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_the_generated_text_depends_on_the_reports_alone(tmp_path: Path) -> None:
    first, second = reports_in(tmp_path / "a"), reports_in(tmp_path / "b")
    assert readme.generate(first) == readme.generate(second)
    metrics = json.loads((second / "metrics.json").read_text())
    metrics["full"]["test"]["loss"] = 0.04326
    (second / "metrics.json").write_text(json.dumps(metrics))
    assert readme.generate(first) != readme.generate(second)
