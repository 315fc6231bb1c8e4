"""A table that several processes write at the same time, or that one was writing when it was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import ROOT
from support.sweeps import moment, run

from bnnlib.core.files import FileError
from bnnlib.sweeps import locks, tables
from bnnlib.sweeps.tables import Tables

EACH = 20
# Begins when a line arrives, so that all such processes begin together.
ADDING = f"""
import sys
from pathlib import Path
from support.sweeps import moment, run
from bnnlib.sweeps.tables import Tables

tables, name = Tables(Path("sweep.csv")), sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for seed in range({EACH}):
    key = f"{{name}}{{seed}}"
    tables.add(run(surrogate=name, seed=seed, key=key), [moment(key, 1), moment(key, 2)])
"""
# Dies as it is about to put the file in place that the argument names.
DYING = """
import os, signal, sys
from pathlib import Path
from support.sweeps import moment, run
from bnnlib.sweeps.tables import Tables

def replace(self, target, proper=Path.replace):
    if target.name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return proper(self, target)

Path.replace = replace
Tables(Path("sweep.csv")).add(run(seed=1, key="b"), [moment("b", 1)])
"""


def start(folder: Path, program: str, argument: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, argument]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def test_processes_that_write_one_table_lose_no_rows(tmp_path: Path) -> None:
    adding = [start(tmp_path, ADDING, name) for name in ("ste", "approx")]
    for process in adding:
        assert process.stdout is not None
        process.stdout.readline()
    for process in adding:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in adding]
    assert [process.returncode for process in adding] == [0, 0], ends
    found = Tables(tmp_path / "sweep.csv")
    assert {run.place()[0].surrogate for run in found.runs.values()} == {"ste", "approx"}
    assert len(found.runs) == 2 * EACH
    assert [len(moments) for _, moments in tables.read(found.path)] == [2] * 2 * EACH


def test_what_another_process_has_stored_is_seen_at_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    ours, theirs = Tables(path), Tables(path)
    theirs.add(run(seed=0, key="a", loss=0.5), [moment("a", 1)])
    theirs.add(run(seed=1, key="b"), [moment("b", 1)])
    ours.add(run(seed=0, key="a", loss=0.25), [moment("a", 1), moment("a", 2)])
    assert [(each.key, each.loss) for each in ours.runs.values()] == [("a", 0.5), ("b", 1.0)]
    assert [each.epoch for _, moments in tables.read(path) for each in moments] == [1, 1]
    path.unlink()  # by hand, or by git
    ours.add(run(seed=2, key="c"), [moment("c", 1)])
    assert list(Tables(path).runs) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["sweep_histories.csv", "sweep.csv"])
def test_a_process_killed_while_it_writes_leaves_a_table_that_the_next_one_continues(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    Tables(path).add(run(seed=0, key="a"), [moment("a", 1)])
    process = start(tmp_path, DYING, name)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert [each.key for each, _ in tables.read(path)] == ["a"]  # a row says that the epochs are stored too
    found = Tables(path)
    found.add(run(seed=2, key="c"), [moment("c", 1)])
    assert list(Tables(path).runs) == ["a", "c"]
    assert [line[:2] for line in found.histories.read_text().splitlines()[1:]] == ["a,", "c,"]


def test_a_lock_that_is_held_is_named_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_S", 0.2)
    found = Tables(tmp_path / "sweep.csv")
    found.write()
    before = found.path.read_bytes()
    with found.lock.path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FileError) as caught:
            found.add(run(key="a"), [moment("a", 1)])
    message = str(caught.value)
    assert message.startswith(f"{found.lock.path}: another process has held this lock of {found.path} for 0.2 s; ")
    assert f"`fuser {found.lock.path}`" in message
    assert found.path.read_bytes() == before
    found.add(run(key="a"), [moment("a", 1)])
    assert list(Tables(found.path).runs) == ["a"]


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda lock: lock.symlink_to(lock.parent)])
def test_a_lock_that_cannot_be_taken_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    found = Tables(tmp_path / "sweep.csv")
    spoil(found.lock.path)
    with pytest.raises(FileError, match=rf"^{found.lock.path}: cannot be locked \(.+\); it guards {found.path}$"):
        found.write()


def test_git_does_not_see_the_lock(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    Tables(tmp_path / "reports/sweep.csv").write()
    assert (tmp_path / "reports/.sweep.csv.lock").exists()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert listed.stdout.splitlines() == [".gitignore", "reports/sweep.csv", "reports/sweep_histories.csv"]
