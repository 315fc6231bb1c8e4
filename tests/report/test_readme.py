"""All pages in one call, and what is said where the reports lack something."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import reports, sweeps
from support.topologies import PARAMS

from bnnlib.core import records
from bnnlib.report import readme
from bnnlib.report.parts import markers
from bnnlib.report.parts.source import Source
from bnnlib.report.readme import PageError

TOPOLOGIES = PARAMS.topologies


def test_every_part_is_written_and_nothing_else_changes(tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    sweeps.write(folder / "sweep.csv")
    reports.write_pages(tmp_path)
    found = readme.pages(tmp_path, folder, "mnist", TOPOLOGIES)
    assert list(found) == [tmp_path / name for name in readme.PAGES]
    for name, parts in readme.PAGES.items():
        source = Source(folder, "mnist", "../" if "/" in name else "", TOPOLOGIES)
        assert found[tmp_path / name] == "".join(
            f"by hand\n{markers.begin(title)}\n\n{part.write(source)}\n\n{markers.end(title)}\n"
            for title, part in parts.items()
        )


def test_nothing_is_written_to_disk_and_writing_twice_changes_nothing(tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    reports.write_pages(tmp_path)
    before = (tmp_path / "README.md").read_text()
    found = readme.pages(tmp_path, folder, "mnist", TOPOLOGIES)
    assert (tmp_path / "README.md").read_text() == before
    for path, text in found.items():
        path.write_text(text)
    assert readme.pages(tmp_path, folder, "mnist", TOPOLOGIES) == found


def test_the_pages_depend_on_the_reports_alone(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        reports.write(folder)
        reports.write_pages(folder)
    first, second = ([*readme.pages(folder, folder / "reports", "mnist", TOPOLOGIES).values()] for folder in folders)
    assert first == second
    reports.change(folders[1] / "reports", "full", loss=0.04326)
    assert [*readme.pages(folders[1], folders[1] / "reports", "mnist", TOPOLOGIES).values()] != first


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("agreement.json", "[1]", "agreement"),
        ("agreement.json", '{"train": {}}', "agreement"),
        ("agreement.json", '{"train": {"a and b": {"images": 3}}}', "agreement"),
        ("agreement.json", '{"train": 1}', "agreement"),
        ("agreement.json", '{"train": {"a and b": null}}', "agreement"),
        ("predictions.csv", "label,full\n4,4\n", "mistakes"),
        ("robustness.csv", reports.ROBUSTNESS.replace("weights", "weight"), "robustness"),
        ("benchmark.json", '{"contestants": {}}', "speed"),
        ("benchmark_training.json", '{"networks": {"full": {}}}', "speed"),
        ("benchmark_sizes.json", '{"networks": [{}]}', "answer"),
    ],
)
def test_reports_that_lack_what_a_part_shows(name: str, content: str, part: str, tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    reports.write_pages(tmp_path)
    (folder / name).write_text(content)
    records.note(folder / name)
    with pytest.raises(PageError, match=rf"^{folder}: .*{name}.* part {part} .*; `.*` writes it$"):
        readme.pages(tmp_path, folder, "mnist", TOPOLOGIES)


def test_a_page_without_its_markers(tmp_path: Path) -> None:
    folder = reports.write(tmp_path)
    reports.write_pages(tmp_path)
    (tmp_path / "docs/speed.md").write_text("# Speed\n")
    with pytest.raises(PageError, match=r"docs/speed.md: the marker <!-- prediction: .* occurs 0 times"):
        readme.pages(tmp_path, folder, "mnist", TOPOLOGIES)
