"""Runs of stages: processes that log at once, stores that cannot be used, signals, and what was left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import psutil
import pytest
from support.clone import Clone
from support.stage_runs import rows, stage, statuses

from bnnlib.tracking import processes

WAITING = "print('waits', flush=True); time.sleep(60)"


@contextmanager
def started(clone: Clone, source: str, above: list[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A stage, or the DVC above it; killed at the end if it still runs."""
    command = [*(above or [sys.executable, "-c"]), source]
    with subprocess.Popen(
        command, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_that_start_on_a_fresh_store_at_once_all_log(clone: Clone) -> None:
    with started(clone, stage()) as first, started(clone, stage()) as second, started(clone, stage()) as third:
        for process in (first, second, third):
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0
            assert errors == ""
    assert statuses(clone.folder / "mlflow.db") == [("train_full", "FINISHED")] * 3


def test_a_run_holds_its_epochs_and_what_made_it(clone: Clone, database: Path) -> None:
    clone.run(sys.executable, "-c", stage())
    query = "select key, value, step from metrics order by step"
    assert rows(database, query) == [("full.validation_loss", 1.0 / epoch, epoch) for epoch in (1, 2, 3)]
    tags = dict(rows(database, "select key, value from tags"))
    assert tags["dvc_stage"] == "train_full"
    assert tags["data_sha256"].startswith("params.yaml:")
    assert processes.is_dead(tags["process"])


@pytest.mark.parametrize(
    "settings",
    [
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        {"MLFLOW_TRACKING_URI": "http://me:secret@127.0.0.1:9"},
        {"MLFLOW_TRACKING_URI": "http://[::1"},
        {"MLFLOW_TRACKING_URI": "sqlite:////proc/no/such.db"},
        {"MLFLOW_TRACKING_URI": "nonsense://x"},
        {"MLFLOW_TRACKING_URI": "postgresql://me:secret@127.0.0.1:9/runs"},
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_TIMEOUT": "abc"},
    ],
    ids=lambda settings: " ".join(settings.values()),
)
def test_a_store_that_cannot_be_used_warns_once_and_the_stage_goes_on(clone: Clone, settings: dict[str, str]) -> None:
    began = time.monotonic()
    done = clone.run(sys.executable, "-c", stage(), **settings)
    assert done.stdout == "done\n"
    assert done.stderr.count("warning:") == 1
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert "secret" not in done.stderr
    assert settings["MLFLOW_TRACKING_URI"].rpartition("@")[2] in done.stderr
    assert time.monotonic() - began < 60  # MLflow's own defaults would ask for minutes


class Nonsense(BaseHTTPRequestHandler):
    """Answers everything with JSON of another shape than MLflow's."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[1]")

    do_POST = do_GET  # noqa: N815 the name that the base class looks for


def test_a_server_that_answers_nonsense_costs_a_warning(clone: Clone) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever).start()
        done = clone.run(
            sys.executable, "-c", stage(), MLFLOW_TRACKING_URI=f"http://127.0.0.1:{server.server_address[1]}"
        )
        server.shutdown()
    assert done.stdout == "done\n"
    assert done.stderr.count("warning:") == 1


def test_a_run_named_by_the_environment_is_not_continued(clone: Clone, database: Path) -> None:
    done = clone.run(sys.executable, "-c", stage(), MLFLOW_RUN_ID="0" * 32, MLFLOW_EXPERIMENT_NAME="other")
    assert done.stderr == ""
    assert statuses(database) == [("train_full", "FINISHED")]


def test_an_error_of_the_stage_marks_its_run_and_passes_through(clone: Clone, database: Path) -> None:
    done = clone.run(sys.executable, "-c", stage("raise OSError('disk full')"), check=False)
    assert done.returncode == 1
    assert "disk full" in done.stderr
    assert statuses(database) == [("train_full", "FAILED")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_run_as_killed_and_the_process_by_that_signal(
    number: signal.Signals, clone: Clone, database: Path
) -> None:
    with started(clone, stage(WAITING)) as process:
        assert line(process) == "waits"
        process.send_signal(number)
        assert process.wait(30) == -number
    assert statuses(database) == [("train_full", "KILLED")]
    assert rows(database, "select count(*) from metrics") == [(3,)]
    assert rows(database, "select count(*) from runs where end_time is null") == [(0,)]


def test_the_next_stage_closes_the_run_of_a_process_that_was_killed(clone: Clone, database: Path) -> None:
    with started(clone, stage(WAITING)) as process, started(clone, stage(WAITING)) as alive:
        for each in (process, alive):
            assert line(each) == "waits"
        process.kill()
        process.wait()
        clone.run(sys.executable, "-c", stage())
        assert sorted(status for _, status in statuses(database)) == ["FINISHED", "KILLED", "RUNNING"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stage_ends_soon_after_its_dvc_was_killed(
    number: signal.Signals, clone: Clone, database: Path, dvc: list[str]
) -> None:
    with started(clone, stage(WAITING), dvc) as above:
        below = psutil.Process(int(line(above)))
        assert line(above) == "waits"
        above.send_signal(number)
        assert above.wait() == -number
        below.wait(20)
    [(parent, parent_status), (name, status)] = statuses(database)
    assert (status, parent_status) == ("KILLED", "KILLED")
    assert name == f"train_full, {parent}"


def test_a_pipeline_that_ended_before_its_last_stage_is_closed_as_its_stages_ended(
    clone: Clone, database: Path, dvc: list[str]
) -> None:
    for middle in ("pass", "raise OSError('disk full')"):
        with started(clone, stage(middle), dvc) as above:
            above.communicate(timeout=60)
    found = dict(statuses(database))
    (first, _), (_, _), (second, _), (_, _) = statuses(database)
    assert second == f"{first} (2)"  # names tell them apart
    assert found[first] == "FINISHED"  # closed by the second
    assert found[second] == "FAILED"


def test_processes_of_other_machines_are_not_judged() -> None:
    assert not processes.is_dead("elsewhere 999999999 1.00")
    assert not processes.is_dead(processes.identity())
    host, number, _ = processes.identity().rsplit(" ", 2)
    assert processes.is_dead(f"{host} {number} 1.00")  # the number is another process's by now


@pytest.mark.parametrize(
    ("words", "forced"),
    [
        ("dvc repro", False),
        ("dvc repro --force", True),
        ("python /env/bin/dvc repro -f", True),
        ("dvc repro -sf evaluate", True),
        ("dvc exp run -S full.epochs=1 --name f", False),
        ("dvc exp run -Sfull.epochs=1", False),
        ("dvc exp run -nfix", False),
        ("dvc repro --dry train_full", False),
    ],
)
def test_whether_dvc_was_told_to_force(words: str, forced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: words.split())
    assert processes.is_forced(psutil.Process()) is forced


def test_the_client_sees_what_the_database_holds(clone: Clone, database: Path) -> None:
    clone.run(sys.executable, "-c", stage())
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    [run] = client.search_runs(["1"])
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["params.yaml"]
