"""MLflow: where the store is, that set-ups do not race, that an error costs a warning, that the UI starts."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest
from support.clone import Clone

from bnnlib.tracking.store import find_store

STAGE = """
import sys
from pathlib import Path
from bnnlib.tracking.store import find_store
from bnnlib.tracking import run as tracking
with tracking.open_run("train_full", {"seed": 0}, data=[]) as log:
    for epoch in range(3):
        log.log_metrics({"loss": 1.0 / (epoch + 1), "flip_ratio": None}, step=epoch)
    log.log_artifact(Path("params.yaml"))
print("done")
"""

CARD = "# Model card\n\nFor tests.\n"
REPORT = f"""
from bnnlib.tracking import run as tracking
with tracking.open_run("report", {{}}, data=[]) as log:
    log.describe_models(["bnn-full", "bnn-packed", "bnn-elsewhere"], {CARD!r})
"""


@pytest.fixture
def clone(make_clone: Callable[[str], Clone]) -> Clone:
    return make_clone("tracking")


def test_default_store_is_at_the_root_from_any_folder_below(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "a/b").mkdir(parents=True)
    found = find_store({}, tmp_path / "a/b")
    assert found.uri.startswith(f"sqlite:///{tmp_path}/mlflow.db?")
    assert found.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_dvc_root_wins_over_the_throw_away_folder(tmp_path: Path) -> None:
    (tmp_path / "throw-away").mkdir()
    (tmp_path / "throw-away/dvc.yaml").touch()
    found = find_store({"DVC_ROOT": str(tmp_path)}, tmp_path / "throw-away")
    assert found.uri.startswith(f"sqlite:///{tmp_path}/mlflow.db?")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("sqlite:///other.db", "sqlite:///{root}/other.db?timeout=60"),
        ("sqlite:///deep/other.db?timeout=5", "sqlite:///{root}/deep/other.db?timeout=5"),
        ("sqlite:////elsewhere/x.db", "sqlite:////elsewhere/x.db?timeout=60"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_address_of_the_user(given: str, found: str, tmp_path: Path) -> None:
    environ = {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": given}
    assert find_store(environ, tmp_path).uri == found.format(root=tmp_path)


def test_processes_that_start_on_a_fresh_store_at_once_all_log(clone: Clone) -> None:
    command = [sys.executable, "-c", STAGE]
    started = [
        subprocess.Popen(command, cwd=clone.folder, env=clone.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0
        assert errors == ""
    with sqlite3.connect(clone.folder / "mlflow.db") as database:
        statuses = database.execute("select status from runs where name = 'train_full'").fetchall()
    assert statuses == [("FINISHED",)] * 3


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/no/such.db", "nonsense://x"])
def test_store_out_of_reach_warns_once_and_the_stage_goes_on(clone: Clone, uri: str) -> None:
    began = time.monotonic()
    done = clone.run(sys.executable, "-c", STAGE, MLFLOW_TRACKING_URI=uri)
    assert done.stdout == "done\n"
    assert done.stderr.count("warning:") == 1
    assert uri.partition("?")[0] in done.stderr
    assert time.monotonic() - began < 60  # MLflow's own defaults would ask for minutes


def test_fault_of_the_stage_marks_its_run_and_passes_through(clone: Clone) -> None:
    failing = STAGE.replace('print("done")', "").replace(
        "    log.log_artifact", "    raise OSError('disk full')\n    log.x"
    )
    done = clone.run(sys.executable, "-c", failing, check=False)
    assert done.returncode == 1
    assert "disk full" in done.stderr
    with sqlite3.connect(clone.folder / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("FAILED",)]


def registered(clone: Clone, versions: dict[str, list[str]]) -> mlflow.MlflowClient:
    """A store with versions of models, each under its alias."""
    client = mlflow.MlflowClient(f"sqlite:///{clone.folder}/mlflow.db")
    for name, aliases in versions.items():
        client.create_registered_model(name)
        for alias in aliases:
            made = client.create_model_version(name, source=str(clone.folder / "models"))
            client.set_registered_model_alias(name, alias, made.version)
    return client


@pytest.mark.parametrize(("experiment", "alias"), [("", "champion"), ("wide/2", "wide-2")])
def test_the_card_describes_the_versions_of_this_experiment_alone(clone: Clone, experiment: str, alias: str) -> None:
    client = registered(clone, {"bnn-full": ["champion", "wide-2"], "bnn-packed": ["champion", "wide-2"], "other": []})
    done = clone.run(sys.executable, "-c", REPORT, **({"DVC_EXP_NAME": experiment} if experiment else {}))
    assert done.stderr == ""  # bnn-elsewhere was never registered here
    for name in ("bnn-full", "bnn-packed"):
        found = {each: client.get_model_version_by_alias(name, each).description for each in ("champion", "wide-2")}
        assert found.pop(alias) == CARD
        assert set(found.values()) <= {None, ""}


def test_pages_come_up_with_few_processes(clone: Clone) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(["bnn", "ui", "--port", str(port)], cwd=clone.folder, env=clone.environment)
    try:
        assert "<title>MLflow</title>" in _page(f"http://127.0.0.1:{port}/", deadline=time.monotonic() + 120)
        names = [child.name() for child in psutil.Process(process.pid).children(recursive=True)]
        assert len(names) <= 3, names  # MLflow's command, its server, one worker
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.terminate()
        process.wait(30)


def _page(url: str, deadline: float) -> str:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.5)
