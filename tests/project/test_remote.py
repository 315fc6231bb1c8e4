"""Data and experiments shared through a DVC remote and a git remote, as docs/remote.md says; both are folders here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.clone import Checkout, Clone
from support.paths import ROOT

UP_TO_DATE = "Data and pipelines are up to date."
NO_SOURCE = {"BNN_DATA_DIR": "/nonexistent"}  # where a stage that fetched the data itself would look first
PACKED = "models/binary.bnn"


@pytest.fixture(scope="module")
def study(make_clone: Callable[[str], Clone]) -> Clone:
    """A small study whose data are pushed to a DVC remote and whose commits are pushed to a git remote."""
    clone = make_clone("study")
    clone.set(data__limit="400", full__epochs="1", full__batch_size="40")
    clone.settle()
    server = clone.folder.with_name(f"{clone.folder.name}.git")
    clone.run("git", "init", "--quiet", "--bare", "--initial-branch", "main", str(server))
    clone.run("git", "remote", "add", "origin", str(server))
    clone.run("dvc", "remote", "add", "--default", "store", str(clone.folder.with_name(f"{clone.folder.name}.store")))
    clone.commit()
    clone.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    clone.run("dvc", "push")
    return clone


@pytest.fixture
def colleague(study: Clone, tmp_path: Path) -> Checkout:
    """A clone from the git remote, without data and with nowhere to fetch them but the DVC remote."""
    server = study.run("git", "remote", "get-url", "origin").stdout.strip()
    study.run("git", "clone", "--quiet", server, str(tmp_path / "clone"))
    return Checkout(tmp_path / "clone", study.environment | NO_SOURCE)


@pytest.mark.parametrize("commands", [["dvc pull", "dvc repro"], ["dvc repro --pull"]])
def test_a_clone_gets_the_data_and_runs_nothing(commands: list[str], colleague: Checkout) -> None:
    for command in commands:
        done = colleague.run(*command.split())
        assert "Running stage" not in done.stdout
    assert UP_TO_DATE in done.stdout
    assert (colleague.folder / "data/processed/train.npz").stat().st_size > 0
    assert colleague.run("git", "status", "--porcelain").stdout == ""


def test_without_the_data_it_is_known_whether_a_stage_is_stale(colleague: Checkout) -> None:
    (colleague.folder / ".venv").mkdir()
    (colleague.folder / ".venv/.ready").touch()  # the environment of the tests is used
    colleague.run("make", "graph")
    colleague.set(full__epochs="2")
    done = colleague.run("make", "graph", check=False)
    assert done.returncode != 0
    assert "train_full" in done.stdout + done.stderr


def test_an_experiment_travels_with_its_results(study: Clone, colleague: Checkout) -> None:
    """Of the first stages alone, which is quick; its data go through the DVC remote, its parameters through git."""
    study.run("dvc", "exp", "run", "--name", "fewer", "--set-param", "data.limit=300", "preprocess")
    study.run("dvc", "exp", "push", "origin", "fewer")
    prepared = (study.folder / "data/processed/train.npz").read_bytes()
    study.run("git", "checkout", "--quiet", ".")
    study.run("dvc", "checkout")
    assert prepared != (study.folder / "data/processed/train.npz").read_bytes()

    assert "fewer" in colleague.run("dvc", "exp", "list", "origin").stdout
    colleague.run("dvc", "exp", "pull", "origin", "fewer")
    colleague.run("dvc", "exp", "apply", "fewer")
    assert (colleague.folder / "data/processed/train.npz").read_bytes() == prepared
    assert YAML(typ="safe").load(colleague.read("params.yaml"))["data"]["limit"] == 300
    assert "Running stage" not in colleague.run("dvc", "repro", "--pull", "preprocess").stdout


def test_another_project_takes_the_packed_network(study: Clone, tmp_path: Path) -> None:
    server = study.run("git", "remote", "get-url", "origin").stdout.strip()
    other = Checkout(tmp_path, study.environment)
    other.run("dvc", "get", server, PACKED, "--out", "copy.bnn")
    other.run("git", "init", "--quiet")
    other.run("dvc", "init", "--quiet")
    other.run("dvc", "import", server, PACKED)
    committed = (ROOT / PACKED).read_bytes()
    assert [(tmp_path / name).read_bytes() for name in ("copy.bnn", "binary.bnn")] == [committed, committed]
    source = YAML(typ="safe").load(other.read("binary.bnn.dvc"))["deps"][0]["repo"]
    assert source["rev_lock"] == study.run("git", "rev-parse", "main").stdout.strip()
    other.run("dvc", "update", "binary.bnn.dvc")
