"""Real sweeps of tiny trainings: on this machine, interrupted, on a Dask cluster whose worker dies; and failed runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from distributed import Client
from ruamel.yaml import YAML
from support.paths import ROOT
from support.tiny_sweeps import AXES, HERE, TINY, Cluster, Study, busy_worker, cluster_in, fill

from bnnlib.config import params
from bnnlib.core.files import FileError
from bnnlib.data import prepare
from bnnlib.export import pack
from bnnlib.packed import reference
from bnnlib.packed.model import Pass
from bnnlib.packed.passes import seen
from bnnlib.scoring import evaluation
from bnnlib.sweeps import backends, grid, sweep, worker
from bnnlib.sweeps.backends import Workers
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.results import Moment
from bnnlib.sweeps.tables import Tables, read
from bnnlib.sweeps.worker import Outcome
from bnnlib.training import loop
from stages import sweep as stage

EPOCH = Moment(key="", epoch=1, train_loss=1.0, validation_loss=1.0, validation_macro_f1=0.5, flip_ratio=None)
BNN = [sys.executable, "-c", "from bnnlib import cli; cli.main()"]


@pytest.fixture(scope="module")
def study(raw_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("sweep")
    fill(folder, raw_dir)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BNN_CACHE_DIR", str(folder / "cache"))
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        out = folder / "sweep.csv"
        cfg = params.load(folder / "params.yaml")
        lines = list(sweep.perform(cfg, AXES, folder / "data", out, HERE))
        yield Study(folder, cfg, Tables(out), lines)


def contents(tables: Tables) -> tuple[bytes, bytes]:
    return tables.path.read_bytes(), tables.histories.read_bytes()


def test_a_sweep_has_a_row_and_a_history_for_each_run(study: Study) -> None:
    places = [run.place() for run in study.tables.runs.values()]
    groups = (("mnist", "two", 1, "ste"), ("mnist", "two", 16, "none"))
    assert places == [(group, seed) for group in groups for seed in (0, 1)]
    assert {run.key for run in study.tables.runs.values()} == {job.key for job in study.jobs()}
    assert study.lines[0] == f"4 runs, 0 of them in {study.tables.path} already"
    assert [line[:4] for line in study.lines[1:]] == ["1/4 ", "2/4 ", "3/4 ", "4/4 "]
    # 1 bit: 2 planes to 2 channels, 5 x 5, then 2 to 10, 4 x 4; 16 bits: of one plane.
    sizes = {(run.bits, run.weight_bytes) for run in study.tables.runs.values()}
    assert sizes == {(1, (100 + 320 + 7) // 8), (16, 2 * (50 + 320))}
    flips = [line.rsplit(",", 1)[1] for line in study.tables.histories.read_text().splitlines()[1:]]
    assert [bool(flip) for flip in flips] == [True, True, False, False]


def test_the_stage_trains_the_grids_of_params_yaml(study: Study) -> None:
    both = [{"datasets": ["mnist"], "topologies": ["two"], "bits": [bits], "seeds": [0, 1]} for bits in (16, 1)]
    content = YAML(typ="safe").load(study.folder / "params.yaml") | {"sweep": both}
    (study.folder / "grids.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    out = study.folder / "stage.csv"
    stage.main(study.data, out, study.folder / "grids.yaml")
    assert contents(Tables(out)) == contents(study.tables)


def test_rows_hold_the_results_of_the_trainings(study: Study) -> None:
    """A job gives the same row in this process as in a worker process."""
    job = study.jobs()[0]
    outcome = worker.run_job(job, study.folder / "nowhere")
    assert outcome.error is None
    assert outcome.run == study.tables.runs[job.key]


def test_one_bit_rows_have_the_scores_of_several_passes_too(study: Study) -> None:
    """Of three passes of the network that the same job trains."""
    job = study.jobs()[0]
    assert len(job.passes) == 2
    splits = prepare.read(worker.ready_folder(job, study.folder / "nowhere"))
    network = loop.best(list(worker.epochs_of(job.training, splits))).published
    model = pack.pack(network, [Pass(**each.model_dump()) for each in job.passes])
    logits = sum(reference.logits(model, seen(splits["test"].images, how)) for how in model.passes)
    expected = evaluation.score(torch.from_numpy(logits / 3), torch.from_numpy(splits["test"].labels).long()).scores
    found = study.tables.runs[job.key]
    assert found.passes_macro_f1 == expected.macro_f1
    assert found.passes_loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.passes_loss != found.loss
    assert {run.passes_loss is None for run in study.tables.runs.values() if run.bits > 1} == {True}


def test_a_sweep_is_a_run_in_mlflow_with_a_child_run_for_each_training(study: Study) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{study.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("bnn")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    parent = next(run for run in runs if run.data.tags["dvc_stage"] == "sweep")
    below = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(below) == {f"{group}, seed {seed}" for group in ("1 bit", "16 bits") for seed in (0, 1)}
    assert {run.info.status for run in (parent, *below.values())} == {"FINISHED"}
    row = next(run for run in study.tables.runs.values() if run.place() == (("mnist", "two", 1, "ste"), 1))
    logged, times = below["1 bit, seed 1"].data, below["1 bit, seed 1"].info
    assert logged.params["model.topology"] == "two"
    assert logged.params["topologies.two.input.mnist"] == "[34, 128]"
    assert (logged.params["model.bits"], logged.params["data.limit"]) == ("1", "200")
    assert logged.tags["sweep_key"] == row.key
    assert (logged.metrics["test.loss"], logged.metrics["validation.loss"]) == (row.loss, row.validation_loss)
    assert (logged.metrics["passes.loss"], logged.metrics["passes.macro_f1"]) == (row.passes_loss, row.passes_macro_f1)
    assert "passes.loss" not in below["16 bits, seed 1"].data.metrics
    assert logged.metrics["flip_ratio"] > 0
    assert logged.metrics["seconds"] == pytest.approx((times.end_time - times.start_time) / 1000, abs=0.002)
    assert parent.info.start_time <= times.start_time
    assert parent.info.run_name.startswith("sweep, ")
    losses = [run.loss for run in study.tables.runs.values() if run.bits == 1]
    assert parent.data.metrics["sweep.1_bit.test.loss.mean"] == pytest.approx(sum(losses) / 2)


def test_a_sweep_that_was_killed_after_a_run_continues_from_there(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    options = ["--seeds", "0,1", "--bits", "1,16", "--out", str(out), "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*BNN, "sweep", *options]
    with subprocess.Popen(command, cwd=study.folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("1/4"):
                process.kill()
    stored = len(Tables(out).runs)
    assert 1 <= stored < 4
    lines = study.perform(out)
    assert lines[0] == f"4 runs, {stored} of them in {out} already"
    assert len(lines) == 1 + 4 - stored
    assert contents(Tables(out)) == contents(study.tables)
    assert study.perform(out) == [f"4 runs, 4 of them in {out} already"]


def test_runs_of_another_recipe_that_come_into_the_table_during_a_sweep_are_refused(
    study: Study, tmp_path: Path
) -> None:
    out = tmp_path / "sweep.csv"
    lines = sweep.perform(study.cfg, {"seeds": [0, 1], "bits": [16]}, study.data, out, HERE)
    assert [next(lines)[:4] for _ in range(2)] == ["2 ru", "1/2 "]
    some = next(iter(study.tables.runs.values()))
    Tables(out).add(some.model_copy(update={"key": "other"}), [EPOCH.model_copy(update={"key": "other"})])
    before = contents(Tables(out))
    refused = rf"{out} holds 1 of 2 runs by other .* them {some}; .* or move this one and sweep_histories\.csv away"
    with pytest.raises(SweepError, match=refused):
        list(lines)
    assert contents(Tables(out)) == before


def test_a_sweep_keeps_what_another_one_stores_meanwhile(study: Study, tmp_path: Path) -> None:
    """Also where both have trained the same."""
    out = tmp_path / "sweep.csv"
    lines = sweep.perform(study.cfg, {"seeds": [0, 1], "bits": [16]}, study.data, out, HERE)
    assert [next(lines)[:4] for _ in range(2)] == ["2 ru", "1/2 "]
    for run, moments in read(study.tables.path):
        Tables(out).add(run, moments)
    assert [line[:4] for line in lines] == ["2/2 "]
    assert contents(Tables(out)) == contents(study.tables)


def test_a_larger_grid_adds_what_is_missing(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    study.perform(out, seeds=[1], bits=[16])
    lines = study.perform(out, seeds=[1], bits=[16, 4])
    assert lines[0] == f"2 runs, 1 of them in {out} already"
    assert [run.bits for run in Tables(out).runs.values()] == [4, 16]
    theirs = study.tables.path.read_text().splitlines()
    assert set(out.read_text().splitlines()) & set(theirs) == {theirs[0], theirs[4]}


def test_each_topology_is_a_row_with_its_own_weight_bytes(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    lines = study.perform(out, topologies=["two", "three"], seeds=[0], bits=[1])
    printed = {line.partition(": validation")[0].partition(" ")[2] for line in lines[1:]}
    assert printed == {"mnist, two, 1 bit, ste, seed 0", "mnist, three, 1 bit, ste, seed 0"}
    three, two = Tables(out).runs.values()
    assert two == next(iter(study.tables.runs.values()))
    assert (three.topology, three.weight_bytes) == ("three", (150 + 480 + 7) // 8)


@pytest.mark.parametrize("change", [{"epochs": [2]}, {"code": "other"}, {"split_seed": 5}])
def test_a_table_of_another_recipe_is_refused_and_not_changed(
    study: Study, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(study.tables)
    if "code" in change:
        monkeypatch.setattr(worker, "code_fingerprint", lambda: change["code"])
    split_seed = change.get("split_seed", study.cfg.data.split_seed)
    data = study.cfg.data.model_copy(update={"split_seed": split_seed})
    changed = replace(study, cfg=study.cfg.model_copy(update={"data": data}))
    epochs = {"epochs": change["epochs"]} if "epochs" in change else {}
    with pytest.raises(SweepError, match="holds 4 of 4 runs by other parameters, data or code than now"):
        changed.perform(study.tables.path, **epochs)
    assert contents(study.tables) == before


@pytest.fixture
def both(study: Study, tmp_path: Path) -> Tables:
    """A table with made-up runs of both topologies."""
    table = Tables(tmp_path / "sweep.csv")
    some = next(iter(study.tables.runs.values()))
    for point in grid.variants(study.cfg, {"bits": [1, 16], "seeds": [0], "topologies": [*TINY]}):
        job = study.job(point)
        place = {"topology": job.topology, "bits": job.training.bits, "surrogate": job.surrogate, "key": job.key}
        table.add(some.model_copy(update=place), [EPOCH.model_copy(update={"key": job.key})])
    return table


@pytest.mark.parametrize("topology", TINY)
def test_a_table_of_both_topologies_continues_whichever_the_parameters_name(
    study: Study, both: Tables, topology: str
) -> None:
    base = study.cfg.model_copy(update={"model": study.cfg.model.model_copy(update={"topology": topology})})
    axes: dict[str, list[Any]] = {"bits": [1, 16], "seeds": [0], "topologies": [*TINY]}
    found = list(sweep.perform(base, axes, study.data, both.path, HERE))
    assert found == [f"4 runs, 4 of them in {both.path} already"]
    with pytest.raises(SweepError, match="holds 4 of 4 runs by other parameters"):
        list(sweep.perform(base, {**axes, "epochs": [9]}, study.data, both.path, HERE))


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_runs_of_a_topology_that_has_changed_or_is_gone_are_refused(study: Study, both: Tables, change: str) -> None:
    topologies = dict(study.cfg.topologies)
    three = topologies.pop("three")
    if change == "changed":
        topologies["three"] = three.model_copy(update={"blocks": topologies["two"].blocks})
    base = study.cfg.model_copy(update={"topologies": topologies})
    before = contents(both)
    with pytest.raises(SweepError, match=r"holds 2 of 4 runs by other .* among them mnist, three, 1 bit, ste, seed 0;"):
        list(sweep.perform(base, AXES, study.data, both.path, HERE))
    assert contents(both) == before


@pytest.fixture
def cluster(tmp_path: Path, raw_dir: Path) -> Iterator[Cluster]:
    """It has two workers, and shares no files with the sweep except the raw data."""
    cache = str(tmp_path / "cache of the workers")
    with cluster_in(tmp_path, PYTHONPATH=str(ROOT), BNN_CACHE_DIR=cache, BNN_DATA_DIR=str(raw_dir)) as found:
        found.start_worker()
        found.start_worker()
        yield found


def test_a_cluster_gives_the_same_table_when_a_worker_is_killed_and_an_error_when_its_scheduler_is(
    study: Study, tmp_path: Path, cluster: Cluster
) -> None:
    """One test, because a cluster takes seconds to start. The worker that is left then does all the jobs.

    There are more jobs than those of the study, so that some are waiting when a process is killed.
    """
    tables = Tables(tmp_path / "sweep.csv")
    more = grid.variants(study.cfg, {"bits": [1], "seeds": [*range(2, 40)]})
    jobs = [*study.jobs(), *(study.job(point) for point in more)]
    nowhere = dict.fromkeys((job.key for job in jobs), study.folder / "not on the workers' machines")
    with Client(scheduler_file=cluster.meeting, set_as_default=False, timeout=60) as watcher:
        watcher.wait_for_workers(2, timeout=60)
        engine = Workers("dask", scheduler=watcher.scheduler.address)
        outcomes = backends.results(jobs, nowhere, engine)
        done = [next(outcomes)]
        [victim] = watcher.run(os.getpid, workers=[busy_worker(watcher)]).values()
        os.kill(victim, signal.SIGKILL)
        done.extend(outcomes)
        assert len(watcher.scheduler_info()["workers"]) == 1
        assert victim in [worker.pid for worker in cluster.workers]
        assert {outcome.job.key for outcome in done} == {job.key for job in jobs}
        for outcome in done:
            assert outcome.run is not None, outcome.error
            if outcome.run.key in study.tables.runs:
                tables.add(outcome.run, outcome.moments)
        assert contents(tables) == contents(study.tables)
        outcomes = backends.results(jobs, nowhere, engine)
        assert next(outcomes).run is not None
        [waiting] = watcher.processing().values()
    assert waiting
    cluster.scheduler.kill()
    with pytest.raises(SweepError, match=f"the scheduler at {engine.scheduler} was lost.*continues from there"):
        list(outcomes)


def test_a_failed_run_is_reported_and_the_others_are_stored(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(jobs: list[Job], *_: object) -> Iterator[Outcome]:
        yield Outcome(jobs[0], None, (), "training loss is nan", started=0.0, seconds=0.0)
        for job in jobs[1:]:
            yield worker.run_job(job, study.folder / "nowhere")

    monkeypatch.setattr(backends, "results", results)
    out = tmp_path / "sweep.csv"
    with pytest.raises(SweepError) as caught:
        study.perform(out, bits=[1])
    assert str(caught.value) == (
        f"1 of 2 runs failed, the others are in {out}:\n  mnist, two, 1 bit, ste, seed 0: training loss is nan"
    )
    assert [run.seed for run in Tables(out).runs.values()] == [1]


def test_an_error_between_two_results_lets_the_workers_go(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def results(jobs: list[Job], *_: object) -> Iterator[Outcome]:
        try:
            for job in jobs:
                moment = EPOCH.model_copy(update={"key": job.key})
                yield Outcome(job, study.tables.runs[job.key], (moment,), None, started=0.0, seconds=0.0)
        finally:
            closed.append(True)

    monkeypatch.setattr(backends, "results", results)
    tables = Tables(tmp_path / "sweep.csv")
    lines = sweep.perform(study.cfg, AXES, study.data, tables.path, HERE)
    assert [next(lines)[:4] for _ in range(2)] == ["4 ru", "1/4 "]
    tables.lock.path.unlink()
    tables.lock.path.mkdir()
    with pytest.raises(FileError, match="cannot be locked") as caught:  # keeps all that the error has seen alive
        next(lines)
    assert closed, caught
