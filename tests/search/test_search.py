"""Real searches of tiny trainings: their trials, table and result; interrupted, and several at the same time."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from ruamel.yaml import YAML
from support.paths import ROOT
from support.searches import ALONE, ASKED, OPTIONS, Site, site

from bnnlib.config import params
from bnnlib.config.topology import Topology
from bnnlib.data import prepare
from bnnlib.nn.published import NonFiniteError
from bnnlib.search import results, search, storage
from bnnlib.search.results import SearchError
from bnnlib.search.storage import Storage
from bnnlib.sweeps import worker
from bnnlib.sweeps.backends import Workers

BNN = [sys.executable, "-c", "from bnnlib import cli; cli.main()", "search", *OPTIONS]


@dataclass(frozen=True)
class Done:
    """A site, and the output of a whole search, called `whole`, that one process ran there."""

    site: Site
    lines: list[str]

    def runs(self) -> list[Run]:
        """All runs in MLflow, the first one first."""
        client = mlflow.MlflowClient(f"sqlite:///{self.site.folder}/mlflow.db")
        experiment = client.get_experiment_by_name("bnn")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))


@pytest.fixture(scope="module")
def done(raw_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BNN_CACHE_DIR", str(folder / "cache"))
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        found = site(folder, raw_dir)
        yield Done(found, found.perform("whole"))


def table(at: Site, name: str) -> bytes:
    return at.places(name).out.read_bytes()


def running_in(at: Site, name: str) -> list[int]:
    """The trials that a search trains now."""
    path = at.places(name).storage
    trials = Storage(path, at.search()).trials() if path.exists() and path.stat().st_size else []
    return [trial.number for trial in trials if trial.state == "running"]


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def test_the_table_has_a_row_for_each_trial_within_the_bytes(done: Done) -> None:
    rows = done.site.rows("whole")
    assert [row["trial"] for row in rows] == [str(number) for number in range(10)]
    assert all(int(row["weight_bytes"]) <= 90 for row in rows)
    shapes = {(row["input"], row["channels"], row["kernels"]) for row in rows}
    assert len(shapes) == 10
    assert {row["pools"] for row in rows} == {"3 2"}
    origin = done.site.search().space
    assert results.shape(origin.topology(origin.start()) or origin.origin) in done.lines[1]
    assert [line.split()[0] for line in done.lines[1:11]] == [f"{number}/10" for number in range(1, 11)]


def test_rows_hold_the_results_of_trainings_on_validation(done: Done) -> None:
    found = done.site.search()
    whole = [row for row in done.site.rows("whole") if row["state"] == "complete"]
    row = min(whole, key=lambda row: float(row["objective"]))
    kernels, channels, pools = (numbers(row[name]) for name in ("kernels", "channels", "pools"))
    blocks = [
        {"channels": width, "kernel": kernel, "pool": pool}
        for width, kernel, pool in zip(channels, kernels, pools, strict=True)
    ]
    topology = Topology.model_validate({"input": numbers(row["input"]), "blocks": blocks})
    data = prepare.read(worker.first_folder(found.job, done.site.folder / "data"))
    training = found.job.training.model_copy(update={"topology": topology})
    epochs = list(worker.epochs_of(training, data))
    assert float(row["objective"]) == statistics.fmean(epoch.validation.loss for epoch in epochs[3:])
    assert float(row["validation_macro_f1"]) == epochs[-1].validation.macro_f1
    assert (int(row["weight_bytes"]), int(row["macs"])) == (topology.weight_bytes(1), topology.macs)


def test_a_trial_worse_than_the_median_is_pruned(done: Done) -> None:
    rows = done.site.rows("whole")
    pruned = [row for row in rows if row["state"] == "pruned"]
    complete = [row for row in rows if row["state"] == "complete"]
    assert pruned
    assert len(complete) >= storage.UNPRUNED
    assert {row["epochs"] for row in complete} == {"4"}
    for row in pruned:
        assert row["epochs"] in {"2", "3"}  # the first fourth is not judged, and the last epoch is done
        assert row["objective"] == ""
    trials = {trial.number: trial for trial in done.site.storage("whole").trials()}
    for row in pruned:
        number, epoch = int(row["trial"]), int(row["epochs"])
        before = [trial for trial in trials.values() if trial.state == "complete" and trial.number < number]
        median = statistics.median(trial.moments[epoch - 1].validation_loss for trial in before)
        assert min(moment.validation_loss for moment in trials[number].moments) > median


def test_the_best_shapes_can_be_put_into_params_yaml(done: Done) -> None:
    start = done.lines.index("as lines under `topologies` in params.yaml:")
    pasted = YAML(typ="safe").load("\n".join(done.lines[start + 1 :]))
    rows = [row for row in done.site.rows("whole") if row["state"] == "complete"]
    ranked = sorted(rows, key=lambda row: float(row["objective"]))[:3]
    assert list(pasted) == [f"pair_90_{rank}" for rank in (1, 2, 3)]
    content = done.site.cfg.model_dump()
    content["topologies"] |= pasted
    for name, row in zip(pasted, ranked, strict=True):
        content["model"] |= {"topology": name, "bits": 1}
        found = params.parse(content, "pasted").topology(1)
        assert list(found.input) == numbers(row["input"])
        assert [block.channels for block in found.blocks] == numbers(row["channels"])
        assert found.weight_bytes(1) == int(row["weight_bytes"])
    shown = done.lines[done.lines.index(next(line for line in done.lines if line.startswith("best of"))) + 1 :][:3]
    assert [f"{float(row['objective']):.4f}" for row in ranked] == [line.rpartition(" ")[2] for line in shown]


def test_a_search_that_is_done_shows_its_result_and_trains_nothing(done: Done) -> None:
    stored, runs = done.site.places("whole").storage.read_bytes(), len(done.runs())
    lines = done.site.perform("whole")
    assert lines[0] == f"10 trials, 10 of them in {done.site.places('whole').storage} already"
    assert lines[1:] == done.lines[11:]
    assert done.site.places("whole").storage.read_bytes() == stored
    assert len(done.runs()) == runs


def test_a_search_is_a_run_in_mlflow_with_a_child_run_for_each_trial(done: Done) -> None:
    parent = next(run for run in done.runs() if run.data.tags["dvc_stage"] == "search")
    assert parent.info.run_name == "search, bytes 90, bits 1, topology pair, epochs 4, trials 10"
    below = {
        run.info.run_name: run for run in done.runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    rows = {f"trial {row['trial']}": row for row in done.site.rows("whole")}
    assert below.keys() == rows.keys()
    for name, run in below.items():
        state = rows[name]["state"]
        assert run.data.tags["state"] == state
        assert run.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[state]
        assert run.data.params["topologies.pair.input.mnist"] == f"[{rows[name]['input'].replace(' ', ', ')}]"
        assert f"kernel: {rows[name]['kernels'].split()[1]}" in run.data.params["topologies.pair.blocks"]
        assert run.data.params["binary.epochs"] == "4"
        assert run.data.metrics["validation_loss"] == float(rows[name]["validation_loss"])
        assert str(run.data.metrics.get("objective", "")) == rows[name]["objective"]
    client = mlflow.MlflowClient(f"sqlite:///{done.site.folder}/mlflow.db")
    curve = client.get_metric_history(below["trial 0"].info.run_id, "validation_loss")
    assert [moment.step for moment in curve] == [1, 2, 3, 4]
    best = min(float(row["objective"]) for row in rows.values() if row["objective"])
    assert parent.data.metrics["search.best.objective"] == best
    assert parent.data.metrics["search.complete"] + parent.data.metrics["search.pruned"] == 10


def test_the_same_seed_gives_the_same_table_and_no_test_image_is_read(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(done.site.folder / "cache", cache)
    for path in cache.rglob("test.npz"):
        path.write_bytes(b"damaged")
    monkeypatch.setenv("BNN_CACHE_DIR", str(cache))
    done.site.perform("again")
    assert table(done.site, "again") == table(done.site, "whole")


def test_a_search_that_was_killed_continues_to_the_same_table(done: Done) -> None:
    places = done.site.places("killed")
    command = [*BNN, "--jobs", "1", "--out", str(places.out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=done.site.folder, env=environment, stdout=subprocess.PIPE) as process:
        while not (running := [number for number in running_in(done.site, "killed") if number > 2]):
            assert process.poll() is None
        process.kill()
    assert running_in(done.site, "killed") == running
    with places.storage.open("ab") as file:
        file.write(b'{"op_code":5,"wor')  # what a full disk leaves of a line
    lines = done.site.perform("killed")
    stored = int(lines[0].split()[2])
    assert stored == running[0]
    assert [line.split()[0] for line in lines[1 : 11 - stored]] == [f"{n}/{10 - stored}" for n in range(1, 11 - stored)]
    assert table(done.site, "killed") == table(done.site, "whole")


def test_a_search_that_was_left_continues_and_a_larger_number_adds_trials(done: Done) -> None:
    lines = search.perform(done.site.cfg, ASKED, done.site.places("left"), ALONE)
    assert [next(lines)[:4] for _ in range(3)] == ["10 t", "1/10", "2/10"]
    lines.close()  # type: ignore[attr-defined]
    assert {trial.state for trial in done.site.storage("left").trials()} == {"complete"}
    assert done.site.perform("left", trials=4)[0].startswith("4 trials, 2 of them")
    assert done.site.perform("left", trials=10)[0].startswith("10 trials, 4 of them")
    assert table(done.site, "left") == table(done.site, "whole")
    assert done.site.perform("left", trials=3)[2:] == done.lines[12:]  # without the line that names the table


def test_two_searches_share_the_trials_of_one_storage(done: Done) -> None:
    places = done.site.places("shared")
    commands = [[*BNN, "--jobs", jobs, "--out", str(places.out)] for jobs in ("1", "2")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(command, cwd=done.site.folder, env=environment, stdout=subprocess.PIPE, text=True)
            )
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    trained = [
        line.partition("trial ")[2].partition(",")[0]
        for text in outputs
        for line in text.splitlines()[1:]
        if "/10 " in line
    ]
    assert sorted(map(int, trained)) == list(range(10))
    rows = done.site.rows("shared")
    assert [row["trial"] for row in rows] == [str(number) for number in range(10)]
    assert len({(row["input"], row["channels"], row["kernels"]) for row in rows}) == 10


def test_a_search_ends_where_no_other_shape_is_left(done: Done) -> None:
    lines = done.site.perform("small", limit=45, trials=60, epochs=1)
    rows = done.site.rows("small")
    count = len({(row["input"], row["channels"], row["kernels"]) for row in rows})
    assert count == len(rows) < 60
    assert f"{count} of 60 trials: no other shape of at most 45 bytes was found" in lines
    stored = done.site.places("small").storage.read_bytes()
    assert done.site.perform("small", limit=45, trials=60, epochs=1)[1:] == lines[1 + count :]
    assert done.site.places("small").storage.read_bytes() == stored


def test_a_search_that_ends_by_an_error_gives_its_trial_back(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> object:
        assert running_in(done.site, "interrupted") == [0]
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "epochs_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        done.site.perform("interrupted")
    assert running_in(done.site, "interrupted") == []
    assert [run.info.status for run in done.runs() if run.data.tags["dvc_stage"] == "search"][-1] == "KILLED"


def test_a_trial_that_fails_is_a_row_and_the_others_go_on(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    proper = worker.epochs_of

    def failing(cfg: object, data: object) -> object:
        if cfg.topology == first:  # type: ignore[attr-defined]
            raise NonFiniteError("training loss is nan at epoch 1")
        return proper(cfg, data)  # type: ignore[arg-type]

    space = done.site.search().space
    first = space.topology(space.start())
    monkeypatch.setattr(worker, "epochs_of", failing)
    lines = done.site.perform("failing", trials=2)
    assert lines[1].endswith("failed: training loss is nan at epoch 1")
    states = [(row["state"], row["error"]) for row in done.site.rows("failing")]
    assert states == [("failed", "training loss is nan at epoch 1"), ("complete", "")]
    assert done.site.perform("failing", trials=2)[0].startswith("2 trials, 2 of them")
    [run] = [run for run in done.runs() if run.data.tags.get("state") == "failed"]
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "training loss is nan at epoch 1")
    with pytest.raises(SearchError, match=r"no trial is complete, see .*failed: training loss is nan"):
        done.site.perform("all failing", trials=1)


def test_wider_networks_have_no_input_planes(done: Done) -> None:
    asked = replace(ASKED, bits=16, limit=1500, trials=2, epochs=1)
    lines = list(search.perform(done.site.cfg, asked, done.site.places("wide"), Workers(jobs=1)))
    rows = done.site.rows("wide")
    assert [row["input"] for row in rows] == ["", ""]
    assert all(1000 < int(row["weight_bytes"]) <= 1500 for row in rows)
    pasted = YAML(typ="safe").load("\n".join(lines[lines.index("as lines under `topologies` in params.yaml:") + 1 :]))
    assert pasted["pair_1500_1"]["input"]["mnist"] == [34, 128]
