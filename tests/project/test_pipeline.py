"""The whole pipeline, small, in a clone of its own: real DVC, real MLflow, real MNIST."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pytest
from ruamel.yaml import YAML
from support import networks
from support.clone import Clone
from support.paths import ROOT
from support.pipelines import (
    SMALL,
    assert_restored,
    assert_whole,
    client_of,
    first_pipeline,
    flip_byte,
    killed,
    queue_status,
    runs_of,
    trainings_in_the_database,
)

from bnnlib.config import params

TRAININGS = ["train_full", "train_binary"]
STAGES = ["download", "preprocess", *TRAININGS, "pack", "agreement", "evaluate", "visualize", "report"]
FROZEN = ["sweep", "robustness"]
IMAGES = {"train": 320, "validation": 80, "test": 400}
UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def study(make_clone: Callable[[str], Clone]) -> Clone:
    """A small study, run once from nothing and committed."""
    clone = make_clone("study")
    clone.set(**SMALL)
    clone.run("dvc", "repro")
    clone.run("dvc", "commit", "--force", *FROZEN)  # only this or --force records their new parameters
    clone.commit()
    return clone


def lock(clone: Clone) -> str:
    return clone.read("dvc.lock")


def test_metrics_have_these_keys(study: Clone) -> None:
    metrics = json.loads(study.read("reports/metrics.json"))
    assert list(metrics) == ["full", "binary"]
    for variant, bits in {"full": 16, "binary": 1}.items():
        result = metrics[variant]
        assert (result["bits"], result["epoch"]) == (bits, 1)
        for part in ("validation", "test"):
            assert set(result[part]) == {"macro_f1", "loss", "accuracy"}
            assert 0 <= result[part]["macro_f1"] <= 1


def test_second_repro_does_nothing(study: Clone) -> None:
    assert UP_TO_DATE in study.run("dvc", "repro").stdout


def test_forced_repro_gives_the_same_bytes_with_any_number_of_threads(study: Clone) -> None:
    before = lock(study)
    study.run("dvc", "repro", "--force", OMP_NUM_THREADS="1", PYTHONHASHSEED="7")
    assert lock(study) == before
    assert study.run("git", "status", "--porcelain").stdout == ""


def test_every_stage_is_a_run_and_one_parent_groups_them(study: Clone) -> None:
    parent, stages = first_pipeline(study)
    assert set(stages) == set(STAGES)
    assert {run.info.run_name for run in stages.values()} == {f"{stage}, {parent.info.run_name}" for stage in STAGES}
    revisions = study.run("git", "rev-list", "--all").stdout.split()
    for run in [parent, *stages.values()]:
        assert run.info.status == "FINISHED"
        assert run.data.tags["git_revision"] in revisions
        assert run.data.tags["dvc_experiment"] == "workspace"
    for run in stages.values():
        assert len(run.data.tags["data_sha256"]) >= 64


def test_runs_hold_parameters_scores_data_sets_and_artifacts(study: Clone) -> None:
    client = client_of(study)
    _, stages = first_pipeline(study)
    training = stages["train_binary"]
    assert training.data.params["model.bits"] == "1"
    assert training.data.params["binary.optimizer.rate"] == str(params.load(ROOT / "params.yaml").binary.optimizer.rate)
    passes = params.load(ROOT / "params.yaml").model.passes
    assert stages["pack"].data.params["model.passes"].count("down: ") == len(passes)  # as `-S` takes them
    history = client.get_metric_history(training.info.run_id, "binary.validation_macro_f1")
    assert [point.step for point in history] == [1]
    assert {data_set.dataset.name for data_set in training.inputs.dataset_inputs} == {"train", "validation"}
    stored = json.loads(study.read("reports/metrics.json"))
    assert stages["evaluate"].data.metrics["binary.test.loss"] == stored["binary"]["test"]["loss"]
    assert {item.path for item in client.list_artifacts(training.info.run_id)} >= {"binary.safetensors"}
    assert len(client.list_artifacts(stages["visualize"].info.run_id, "figures")) == 19


def test_the_run_above_tells_the_whole_result(study: Clone) -> None:
    parent, stages = first_pipeline(study)
    assert_whole(study, parent, stages)
    assert parent.data.tags["command"] == "dvc repro"
    assert "restored" not in parent.data.tags
    assert "binary.epochs=1" in parent.data.tags["changed"]  # `set` changed the committed file
    assert parent.data.tags["changed.data.limit"] == "400"


@pytest.mark.parametrize("variant", ["full", "binary"])
def test_registered_model_predicts_like_the_published_weights(study: Clone, variant: str) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{study.folder}/mlflow.db")
    model = mlflow.pyfunc.load_model(f"models:/bnn-{variant}@candidate")
    assert model.metadata.signature is not None
    images = np.load(study.folder / "data/processed/test.npz")["images"]
    predicted = model.predict(images).argmax(axis=1)
    table = study.read("reports/predictions.csv").splitlines()
    column = table[0].split(",").index(variant)
    assert predicted.tolist() == [int(line.split(",")[column]) for line in table[1:]]


def test_check_names_the_missed_metric(study: Clone) -> None:
    done = study.run("bnn", "check", check=False)
    assert done.returncode == 1
    assert "MISSED binary.test.macro_f1" in done.stdout
    assert "binary.test.macro_f1" in done.stderr
    assert "MISSED agreement" not in done.stdout


def test_the_engines_agree_on_every_image(study: Clone) -> None:
    found = json.loads(study.read("reports/agreement.json"))
    nothing = {"dots": 0, "logits": 0, "predictions": 0}
    pairs = ("torch and reference", "torch and fast", "reference and fast")
    assert found == {split: {pair: {"images": n, **nothing} for pair in pairs} for split, n in IMAGES.items()}


def test_the_scores_of_the_binary_network_are_those_of_the_packed_one(study: Clone) -> None:
    """With another packed network and the same weights they change."""
    content = networks.COMMITTED.read_bytes()  # of many epochs, not one
    (study.folder / "other.bnn").write_bytes(content)
    weights = "models/full.safetensors models/binary.safetensors"
    splits = "data/processed/validation.npz data/processed/test.npz"
    study.run("python", "-m", *f"stages.evaluate {weights} other.bnn {splits} other".split())
    before, after = (json.loads(study.read(f"{folder}/metrics.json")) for folder in ("reports", "other"))
    assert after["full"] == before["full"]
    assert after["binary"]["test"]["loss"] < before["binary"]["test"]["loss"]
    assert json.loads(study.read("other/sizes.json"))["binary"]["packed_bytes"] == len(content)
    shutil.rmtree(study.folder / "other")
    (study.folder / "other.bnn").unlink()


def test_readme_shows_the_reports_until_someone_edits_it(study: Clone) -> None:
    study.run("bnn", "readme", "--check")
    page = study.read("README.md")
    size = f"| {json.loads(study.read('reports/sizes.json'))['binary']['weight_bytes']:,} |"
    assert size in page
    (study.folder / "README.md").write_text(page.replace(size, "| 1 |"), encoding="utf-8")
    assert study.run("bnn", "readme", "--check", check=False).returncode == 1
    study.run("bnn", "readme")
    assert study.read("README.md") == page


@pytest.mark.parametrize("name", ["data/raw/t10k-labels-idx1-ubyte", "data/processed/train.npz"])
def test_flipped_byte_in_the_data_is_detected_and_repaired(study: Clone, name: str) -> None:
    before = lock(study)
    path = study.folder / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    flip_byte(path)
    assert "modified:" in study.run("dvc", "status").stdout
    study.run("dvc", "repro")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert lock(study) == before


@pytest.mark.parametrize("name", ["sweep.csv", "sweep_histories.csv"])
def test_a_flipped_byte_in_the_table_of_the_sweep_stops_the_pipeline_and_costs_no_figure(
    study: Clone, name: str
) -> None:
    before = lock(study)
    flip_byte(study.folder / "reports" / name)
    done = study.run("dvc", "repro", "visualize", check=False)
    assert done.returncode != 0
    assert "error: reports/sweep" in done.stdout + done.stderr
    study.run("git", "checkout", "--quiet", "reports/sweep.csv", "reports/sweep_histories.csv")
    assert study.run("git", "status", "--porcelain", "reports").stdout == ""
    study.run("dvc", "repro")
    assert lock(study) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("data/raw/t10k-labels-idx1-ubyte", "preprocess data/mnist.sha256 data/raw elsewhere"),
        (
            "data/processed/test.npz",
            "evaluate models/full.safetensors models/binary.safetensors models/binary.bnn "
            "data/processed/validation.npz data/processed/test.npz elsewhere",
        ),
    ],
)
def test_stages_themselves_refuse_damaged_data(study: Clone, name: str, command: str) -> None:
    path = study.folder / name
    content = path.read_bytes()
    flip_byte(path)
    try:
        done = study.run("python", "-m", *f"stages.{command}".split(), check=False)
    finally:
        path.write_bytes(content)
    assert done.returncode == 1
    assert f"error: {'the raw data differ' if 'raw' in name else name}" in done.stderr
    assert name.rsplit("/", 1)[-1] in done.stderr
    assert not (study.folder / "elsewhere").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.bits=banana", "model.bits: 'banana' is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
        ("binary.epochs=0", "binary.epochs: 0 is not allowed; allowed: a whole number from 1 to 10000"),
        ("model.topology=pool", "Parameters 'topologies.pool.blocks' are missing from 'params.yaml'"),  # by DVC itself
        (
            "topologies.pooled.blocks=[{channels: 8, kernel: 29, pool: 1}]",
            "topologies.pooled.blocks[0].kernel: 29 is not allowed; allowed: a whole number from 1 to 28",
        ),
        ("binary.optimizer.rate='1e-06'", "write the number without quotes"),
    ],
)
def test_a_bad_parameter_is_refused_before_training(study: Clone, setting: str, message: str) -> None:
    before = len(runs_of(study))
    done = study.run("dvc", "exp", "run", "-S", setting, check=False)
    study.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock")
    study.run("dvc", "checkout")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert len(runs_of(study)) == before


def test_another_topology_makes_both_trainings_stale(study: Clone) -> None:
    study.set(model__topology="baseline")
    try:
        status = json.loads(study.run("dvc", "status", "--json", "train_full", "train_binary").stdout)
    finally:
        study.run("git", "checkout", "--quiet", "params.yaml")
    blocks, planes = ({f"topologies.baseline.{name}": "new"} for name in ("blocks", "input.mnist"))
    changed = {stage: entries[0]["changed deps"]["params.yaml"] for stage, entries in status.items()}
    assert changed == {"train_full": blocks, "train_binary": blocks | planes}


def test_killed_at_any_moment_the_training_goes_on_and_ends_with_the_same_hashes(study: Clone) -> None:
    before = lock(study)
    study.set(binary__epochs="9")
    states = study.folder / ".dvc/tmp/trainings"
    there = {path.name for path in states.iterdir()}
    soon = time.monotonic() + 3
    killed(study, lambda: time.monotonic() > soon)
    killed(study, lambda: any(path.name not in there for path in states.glob("*.state")))
    shown = study.run("dvc", "repro", "train_binary").stdout
    assert "the training goes on from here" in shown
    assert "binary: epoch 9/9" in shown
    resumed = lock(study)
    assert resumed != before
    forced = study.run("dvc", "repro", "--force", "--single-item", "train_binary").stdout
    assert "goes on from here" not in forced
    assert lock(study) == resumed
    study.run("git", "checkout", "--quiet", ".")
    assert UP_TO_DATE in study.run("dvc", "repro").stdout
    assert lock(study) == before


def test_a_finished_training_whose_record_was_lost_is_not_done_again(study: Clone) -> None:
    """The lock is written after the training; killed then, DVC has no record of it, nor of what was done before."""

    def recorded() -> dict[str, Any]:
        found: dict[str, Any] = YAML(typ="safe").load(lock(study))
        return found

    before = recorded()
    without = {**before, "stages": {name: each for name, each in before["stages"].items() if name != "train_binary"}}
    with (study.folder / "dvc.lock").open("w") as file:
        YAML().dump(without, file)
    shown = study.run("dvc", "repro", "train_binary").stdout
    assert "Running stage 'train_binary'" in shown
    assert re.search(r"trainings/binary-[0-9a-f]{16}\.state: the training goes on from here", shown)
    assert recorded() == before
    study.run("git", "checkout", "--quiet", "dvc.lock")  # whose stages are in another order now
    assert study.run("git", "status", "--porcelain").stdout == ""


def test_queued_and_temporary_runs_reach_the_one_store(study: Clone) -> None:
    for path in study.folder.glob("mlflow.db*"):  # two workers then create a new one at the same time
        path.unlink()
    study.run("dvc", "exp", "run", "--queue", "-S", "model.bits=2,4", "train_binary")
    # The workers run on in the background and keep the inherited output open, so nothing may wait for its end.
    start = ["dvc", "queue", "start", "--jobs", "2"]
    silent = subprocess.DEVNULL
    subprocess.run(start, cwd=study.folder, env=study.environment, stdout=silent, stderr=silent, check=True)
    deadline = time.monotonic() + 240
    while "Running" in (status := queue_status(study)) or "Queued" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)
    study.run("dvc", "queue", "stop")
    assert status.count("Success") == 2, status + study.run("dvc", "queue", "logs", "HEAD", check=False).stdout
    study.run("dvc", "exp", "run", "--temp", "-S", "model.bits=8")
    trained = trainings_in_the_database(study)
    assert sorted(bits for bits, _, _ in trained) == ["2", "4", "8"]
    assert len({parent for _, parent, _ in trained}) == 3
    shown = study.run("dvc", "exp", "show", "--csv").stdout
    assert len({experiment for _, _, experiment in trained}) == 3
    assert all(experiment in shown for _, _, experiment in trained)
    references = study.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/??/**").stdout.split()
    assert len(references) == 3
    [whole] = [name for name in references if "bits: 8" in study.run("git", "show", f"{name}:params.yaml").stdout]
    # Wider than one bit, so that nothing is packed or compared.
    assert study.run("git", "show", f"{whole}:models/binary.bnn").stdout == ""
    assert study.run("git", "show", f"{whole}:reports/agreement.json").stdout == "{}\n"
    assert "No engines were compared" in study.run("git", "show", f"{whole}:docs/results.md").stdout
    sizes = json.loads(study.run("git", "show", f"{whole}:reports/sizes.json").stdout)
    assert sizes["binary"]["packed_bytes"] is None
    assert_restored(study)


def test_lock_holds_a_hash_for_every_output(study: Clone) -> None:
    locked = YAML(typ="safe").load(lock(study))["stages"]
    assert set(locked) == {*STAGES, *FROZEN}  # which are hashed, not run
    for stage in locked.values():
        assert all(entry["md5"] for entry in [*stage["deps"], *stage.get("outs", [])])
