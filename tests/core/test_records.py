"""Files that no stage makes again: a change of one is found."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT
from support.pipelines import flip_byte

from bnnlib.core import files, records
from bnnlib.core.files import FileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two records, noted twice."""
    for content in ("before", "after"):
        for name in ("b.json", "a.png"):
            (tmp_path / name).write_text(f"{content} {name}")
            records.note(tmp_path / name)
    return tmp_path


def test_the_list_is_sorted_and_another_program_reads_it(folder: Path) -> None:
    assert records.check_all(folder) == []
    subprocess.run(["sha256sum", "--check", "--strict", records.LIST], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["b.json", "a.png"])
def test_a_changed_record_is_named(folder: Path, name: str) -> None:
    flip_byte(folder / name)
    [line] = records.check_all(folder)
    assert re.match(rf"{folder / name}: its SHA-256 is [0-9a-f]{{64}}, but [0-9a-f]{{64}} in ", line)
    with pytest.raises(FileError, match=re.escape(line)):
        records.check(folder / name)


def test_a_record_that_is_gone_or_not_listed_is_named(folder: Path) -> None:
    (folder / "a.png").unlink()
    [line] = records.check_all(folder)
    assert line.startswith(f"{folder}/a.png: cannot be read")
    (folder / records.LIST).unlink()
    assert records.check_all(folder) == []  # of no name that a record has
    (folder / "benchmark.json").touch()
    [line] = records.check_all(folder)
    assert re.match(rf"{folder}/benchmark.json: its SHA-256 is .*, but none in {folder}/{records.LIST}", line)


def test_a_damaged_list_names_the_line(folder: Path) -> None:
    path = folder / records.LIST
    path.write_text(path.read_text().replace("  b.json", " b.json"))
    with pytest.raises(FileError, match=rf"^{path}, line 2: "):
        records.check_all(folder)


def test_all_committed_files_that_no_stage_makes_are_listed() -> None:
    made = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    names = {path.name for path in (ROOT / "reports").iterdir() if path.is_file() and not path.name.startswith(".")}
    by_hand = {name for name in names if not re.search(rf"      - reports/{re.escape(name)}:", made)}
    assert by_hand - {records.LIST} == files.read_hashes(ROOT / "reports" / records.LIST).keys()
    assert records.check_all(ROOT / "reports") == []


@pytest.mark.parametrize("name", ["benchmark.json", "benchmark.png", "baseline_sweep_59841fe_histories.csv"])
def test_the_gate_finds_a_changed_record(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "reports", tmp_path / "reports")
    flip_byte(tmp_path / "reports" / name)
    done = subprocess.run(
        ["bnn", "check", "--reports", str(tmp_path / "reports")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"CHANGED {tmp_path}/reports/{name}: its SHA-256 is " in done.stdout
    assert done.stderr == "error: 1 record changed\n"
