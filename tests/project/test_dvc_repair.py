"""Files that a killed DVC left half-written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT

from bnnlib import dvc_repair
from bnnlib.dvc_repair import RepairError

LOCK = (ROOT / "dvc.lock").read_text(encoding="utf-8")
RESTORED = ["restored dvc.lock from the last commit, because it was half-written"]
# Where a stage begins, and where a line of the last stage ends: cut there, the rest still is a proper file.
STAGE_STARTS = [found.start() for found in re.finditer(r"(?m)^  \w+:$", LOCK)]
LINE_ENDS = [found.end() for found in re.finditer(r"\n", LOCK) if found.end() > STAGE_STARTS[-1]][:-1]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("dvc.lock", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    identity = ["-c", "user.name=tests", "-c", "user.email=tests"]
    for words in (["init", "--quiet"], ["add", "dvc.lock"], [*identity, "commit", "--quiet", "-m", "lock"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_what_is_whole_is_left_alone(repository: Path) -> None:
    (repository / ".dvc/tmp/rwlock").write_text('{"read": {}}')
    assert dvc_repair.repair(repository) == []
    assert (repository / ".dvc/tmp/rwlock").read_text() == '{"read": {}}'
    assert (repository / "dvc.lock").read_text() == LOCK


@pytest.mark.parametrize("content", ["", '{"read": {"/a'])
def test_a_broken_lock_of_running_processes_is_removed(repository: Path, content: str) -> None:
    (repository / ".dvc/tmp/rwlock").write_text(content)
    assert dvc_repair.repair(repository) == ["removed .dvc/tmp/rwlock, which was half-written"]
    assert not (repository / ".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.33, 0.5, 0.77, 0.9])
def test_a_broken_lock_of_the_graph_is_restored(repository: Path, part: float) -> None:
    cut = LOCK.index("md5: ", int(part * len(LOCK))) if part else -5  # behind the first half of an entry
    (repository / "dvc.lock").write_text(LOCK[: cut + 5])
    assert dvc_repair.repair(repository) == RESTORED
    assert (repository / "dvc.lock").read_text() == LOCK


def test_a_lock_cut_between_its_lines_is_restored(repository: Path) -> None:
    for cut in [*STAGE_STARTS, *LINE_ENDS[::40], *LINE_ENDS[-8:]]:
        (repository / "dvc.lock").write_text(LOCK[:cut])
        assert dvc_repair.repair(repository) == RESTORED, cut
        assert (repository / "dvc.lock").read_text() == LOCK


def test_a_half_written_lock_in_the_index_does_not_matter(repository: Path) -> None:
    (repository / "dvc.lock").write_text(LOCK[: STAGE_STARTS[3]])
    subprocess.run(["git", "add", "dvc.lock"], cwd=repository, check=True)
    assert dvc_repair.repair(repository) == RESTORED
    assert (repository / "dvc.lock").read_text() == LOCK


def test_a_lost_stage_without_outs_is_noticed(repository: Path) -> None:
    [report] = re.findall(r"(?ms)^  report:.*?(?=^  \w)", LOCK)
    assert "outs:" not in report
    (repository / "dvc.lock").write_text(LOCK.replace(report, ""))
    assert dvc_repair.repair(repository) == RESTORED


def test_where_git_is_not_installed_a_whole_lock_is_left_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert dvc_repair.repair(repository) == []
    (repository / "dvc.lock").write_text("")
    with pytest.raises(RepairError, match=r"dvc.lock: half-written, and git does not restore it .*No such file"):
        dvc_repair.repair(repository)


def test_a_lock_without_a_stage_that_the_graph_no_longer_has_is_left_alone(repository: Path) -> None:
    graph = (repository / "dvc.yaml").read_text()
    (repository / "dvc.yaml").write_text(re.sub(r"(?ms)^  sweep:.*?(?=^\w)", "", graph))
    (repository / "dvc.lock").write_text(LOCK[: STAGE_STARTS[-1]])
    assert dvc_repair.repair(repository) == []


def test_without_git_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("")
    with pytest.raises(RepairError, match=r"dvc.lock: half-written, and git does not restore it .*; delete it"):
        dvc_repair.repair(tmp_path)


def test_where_there_is_nothing_nothing_is_done(tmp_path: Path) -> None:
    assert dvc_repair.repair(tmp_path) == []


@pytest.mark.parametrize("name", ["config", "config.local"])
def test_without_git_dvc_may_be_told_to_do_without(tmp_path: Path, name: str) -> None:
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(RepairError, match=r"not in a git repository.*`git init`"):
        dvc_repair.repair(tmp_path)
    (tmp_path / ".dvc" / name).write_text("[core]\n    no_scm = true\n")
    assert dvc_repair.repair(tmp_path) == []


@pytest.mark.parametrize("content", ["[core]\n    no_scm = perhaps\n", "no section\n"])
def test_settings_of_dvc_that_are_not_valid_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(content)
    with pytest.raises(RepairError, match=r"\.dvc: config or config\.local is not valid"):
        dvc_repair.repair(tmp_path)
