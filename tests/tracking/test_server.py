"""A server as teams run it: PostgreSQL, artifacts through the server, passwords; also while it is away."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import mlflow
import psycopg
import pytest
from mlflow.entities import Run
from support import browser
from support.clone import Clone
from support.servers import PASSWORD, USER, Way, mlflow_server, postgresql
from support.stage_runs import stage

# A stage that logs an epoch whenever it is told to.
STEPS = """
    import bnnlib.tracking.run
    bnnlib.tracking.run.GRACE_S = float(os.environ["GRACE_S"])
    bnnlib.tracking.outbox.PAUSE_S = 0.2
    for line in sys.stdin:
        log.log_epoch("full", {"epoch": int(line), "validation_loss": 0.5})
        print("logged", flush=True)
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as address:
        yield address


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory, database: str, environment: dict[str, str]) -> Iterator[Way]:
    with mlflow_server(tmp_path_factory.mktemp("server"), database, environment) as port:
        yield Way(port)


@pytest.fixture
def address(way: Way) -> str:
    return f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{way.port}"


@pytest.fixture
def client(address: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(address)


def steps_of(client: mlflow.MlflowClient, run: Run) -> list[int]:
    return [moment.step for moment in client.get_metric_history(run.info.run_id, "full.validation_loss")]


def newest(client: mlflow.MlflowClient) -> Run:
    return client.search_runs(["1"], order_by=["attributes.start_time desc"], max_results=1)[0]


def test_a_stage_logs_through_the_server_and_shows_no_password(
    clone: Clone, address: str, client: mlflow.MlflowClient
) -> None:
    done = clone.run(sys.executable, "-c", stage(), MLFLOW_TRACKING_URI=address)
    assert done.stderr == ""
    run = newest(client)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["params.yaml"]
    assert "correct" not in str(run.to_dictionary())


def test_the_server_has_the_same_pages(clone: Clone, way: Way, address: str, dvc: list[str]) -> None:
    scores = "log.log_metrics({'binary.test.macro_f1': 0.75})"
    environment = {**clone.environment, "MLFLOW_TRACKING_URI": address}
    command = [*dvc, stage(scores)]
    subprocess.run(command, cwd=clone.folder, env=environment, check=True, capture_output=True)
    printed = clone.run("python", "-m", "bnnlib", "ui", MLFLOW_TRACKING_URI=address).stdout
    assert PASSWORD not in printed
    assert quote(PASSWORD, safe="") not in printed
    views = dict(re.findall(r"(?m)^(Results|Curves): +(http://127\S+)$", printed))
    with browser.browse(2600, 1600, {"username": USER, "password": PASSWORD}) as page:
        page.goto(views["Results"])
        [(name, cells)] = [(name, cells) for name, cells in browser.rows(page).items() if name.startswith("repro ")]
        assert (cells["binary.test.macro_f1"], cells["model.bits"]) == ("0.75", "1")
        page.goto(views["Curves"])
        wanted = {"full.validation_loss": {name}}
        assert browser.lines(page, wanted)["full.validation_loss"][name] == 3


def test_a_database_without_a_server_has_its_artifacts_in_the_repository(clone: Clone, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create database direct")
    direct = database.replace("/postgres", "/direct")
    assert clone.run(sys.executable, "-c", stage(), MLFLOW_TRACKING_URI=direct).stderr == ""
    run = newest(mlflow.MlflowClient(direct))
    assert run.info.status == "FINISHED"
    assert (clone.folder / "mlartifacts" / run.info.run_id / "artifacts/params.yaml").is_file()


def test_a_refused_password_is_not_repeated(clone: Clone, way: Way) -> None:
    done = clone.run(sys.executable, "-c", stage(), MLFLOW_TRACKING_URI=f"http://ada:wrong1@127.0.0.1:{way.port}")
    assert done.stdout == "done\n"
    assert done.stderr.count("warning:") == 1
    assert "wrong1" not in done.stderr
    assert "ada:***@" in done.stderr


def steps(clone: Clone, address: str, grace: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", stage(STEPS)],
        cwd=clone.folder,
        env={**clone.environment, "MLFLOW_TRACKING_URI": address, "GRACE_S": grace},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    print(epoch, file=process.stdin, flush=True)
    assert process.stdout.readline() == "logged\n"


@pytest.mark.parametrize("back", ["while it trains", "after it ended"])
def test_what_a_server_misses_comes_later(
    back: str, clone: Clone, way: Way, address: str, client: mlflow.MlflowClient
) -> None:
    with steps(clone, address, grace="30") as process:
        log_epoch(process, 11)
        way.close()
        log_epoch(process, 12)
        log_epoch(process, 13)
        epochs = [11, 12, 13]
        if back == "while it trains":
            way.open()
            while not {*epochs} <= {*steps_of(client, newest(client))}:
                assert len(epochs) < 100, "nothing comes until the stage ends"
                epochs.append(epochs[-1] + 1)
                log_epoch(process, epochs[-1])
                time.sleep(0.3)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        if back == "after it ended":
            time.sleep(2)
            way.open()
        assert process.wait(60) == 0
        assert process.stderr.read().count("warning:") == 1
    run = newest(client)
    assert run.info.status == "FINISHED"
    assert steps_of(client, run) == [1, 2, 3, *epochs]


def test_a_server_that_stays_away_never_has_a_finished_run_with_a_part_of_its_log(
    clone: Clone, way: Way, address: str, client: mlflow.MlflowClient
) -> None:
    with steps(clone, address, grace="1") as process:
        log_epoch(process, 11)
        way.close()
        log_epoch(process, 12)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
    assert errors.count("warning:") == 2  # when it went away, and that a part is missing
    way.open()
    assert newest(client).info.status == "RUNNING"
    lost = newest(client).info.run_id
    clone.run(sys.executable, "-c", stage(), MLFLOW_TRACKING_URI=address)
    assert client.get_run(lost).info.status == "KILLED"
