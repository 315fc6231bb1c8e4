"""The SQLite file of the runs: made whole, checked before use, followed when its folder moves."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock
from support.stage_runs import rows

from bnnlib.tracking import database
from bnnlib.tracking.experiment import ready
from bnnlib.tracking.store import Store, StoreError, find_store

SET_UP = "import sys; from pathlib import Path; from bnnlib.tracking import database; " + (
    "database.prepare(Path(sys.argv[1]), 'bnn', 'file:///nowhere/mlartifacts')"
)


def store_in(folder: Path) -> Store:
    return find_store({"DVC_ROOT": str(folder)}, folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of one run and its artifact."""
    folder = tmp_path_factory.mktemp("made")
    experiment = ready(store_in(folder))
    client = mlflow.MlflowClient(store_in(folder).uri)
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "kept", "note.txt")
    return folder


@pytest.fixture
def used(made: Path, tmp_path: Path) -> Path:
    """A copy of the database in a folder of its own."""
    shutil.copyfile(made / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path / "mlflow.db"


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_set_up_that_is_killed_leaves_nothing_that_the_next_one_trips_over(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", SET_UP, str(path)])
    deadline = time.monotonic() + 60
    while not (temporary := tmp_path / ".mlflow.db.tmp").exists() or temporary.stat().st_size < 200_000:
        assert time.monotonic() < deadline, "never in the middle"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    assert ready(store_in(tmp_path))
    assert {file.name for file in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.parametrize("tables", [[], ["create table experiments (a)", "create table runs (b)"]])
def test_a_database_whose_set_up_was_killed_before_is_set_up_again(tables: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    change(path, *tables)
    ready(store_in(tmp_path))
    assert rows(path, "select name from experiments order by experiment_id") == [("Default",), ("bnn",)]
    assert (tmp_path / "mlflow.db.unfinished").exists() == bool(tables)  # nothing is lost


@pytest.mark.parametrize("content", [b"no database" * 1000, None], ids=["random", "cut"])
def test_a_damaged_database_is_named_at_once_and_kept(content: bytes | None, used: Path) -> None:
    damaged = content or used.read_bytes()[:20_000]
    used.write_bytes(damaged)
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"mlflow\.db: .*move it away"):
        ready(store_in(used.parent))
    assert time.monotonic() - began < 30  # MLflow tries for minutes
    assert used.read_bytes() == damaged


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    change(tmp_path / "mlflow.db", "create table songs (title)")
    with pytest.raises(StoreError, match="another program"):
        ready(store_in(tmp_path))
    assert rows(tmp_path / "mlflow.db", "select name from sqlite_master") == [("songs",)]


def test_a_database_of_a_newer_version_is_named_with_the_way_out(used: Path) -> None:
    change(used, "update alembic_version set version_num = 'feedfacecafe'")
    with pytest.raises(StoreError, match=rf"feedfacecafe.* {mlflow.__version__}; install that one, or move"):
        ready(store_in(used.parent))


def test_a_held_lock_ends_with_its_name(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    lock = used.with_name("mlflow.db.lock")
    with FileLock(lock), pytest.raises(StoreError, match=r"mlflow\.db\.lock"):
        ready(store_in(used.parent))


def test_a_deleted_experiment_is_named_with_both_ways_out(used: Path) -> None:
    change(used, "update experiments set lifecycle_stage = 'deleted' where name = 'bnn'")
    with pytest.raises(StoreError, match=r"restore --experiment-id 1.*gc --experiment-ids 1"):
        ready(store_in(used.parent))


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_artifacts_follow_the_folder(way: str, made: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old é", tmp_path / "old é 2"  # one name begins as the other
    shutil.copytree(made, old)
    ready(store_in(old))
    (shutil.move if way == "moved" else shutil.copytree)(old, new)
    experiment = ready(store_in(new))
    client = mlflow.MlflowClient(store_in(new).uri)
    [run] = client.search_runs([experiment])
    assert run.info.artifact_uri.startswith(f"{new.as_uri()}/mlartifacts/")
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt") == "kept"
    client.log_text(client.create_run(experiment).info.run_id, "added", "note.txt")
    assert old.exists() == (way == "copied")
    assert len(list(new.rglob("note.txt"))) == 2


def test_artifacts_that_the_user_keeps_elsewhere_stay_there(used: Path) -> None:
    change(used, "update experiments set artifact_location = 's3://bucket/mlartifacts' where name = 'bnn'")
    ready(store_in(used.parent))
    found = rows(used, "select artifact_location from experiments where name = 'bnn'")
    assert found == [("s3://bucket/mlartifacts",)]
