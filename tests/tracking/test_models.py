"""Registered versions: aliases that MLflow takes, the champion, scores and the card."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from support.clone import Clone
from support.stage_runs import rows

from bnnlib.core import files
from bnnlib.tracking.models import CANDIDATE, CHAMPION, alias

CARD = "# Model card\n\nFor tests.\n"
DESCRIBE = f"""
from pathlib import Path
from bnnlib.config import params
from bnnlib.tracking import models
from bnnlib.tracking.run import open_run
networks = {{"bnn-full": Path("models/full.safetensors"), "bnn-packed": Path("models/binary.bnn")}}
scores = {{name: {{"test.macro_f1": 0.5, "packed_bytes": None}} for name in networks}}
with open_run("report", params.load("params.yaml"), {{}}, data=[]) as log:
    models.describe(log, networks, scores, {CARD!r}, passed=PASSED)
"""


@pytest.fixture(scope="module")
def clone(make_clone: Callable[[str], Clone]) -> Clone:
    """A clone whose registry has two versions of the full network: of the file in models/, and of another one."""
    clone = make_clone("models")
    clone.run(sys.executable, "-c", DESCRIBE.replace("PASSED", "True"))  # with nothing registered
    client = client_of(clone)
    client.create_registered_model("bnn-full")
    for digest in (files.sha256(clone.folder / "models/full.safetensors"), "0" * 64):
        client.create_model_version("bnn-full", source=str(clone.folder / "models"), tags={"file_sha256": digest})
    return clone


def client_of(clone: Clone) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{clone.folder}/mlflow.db")


@pytest.mark.parametrize(("passed", "experiment", "champion"), [
    ("False", "", {}),
    ("True", "wide", {}),
    ("True", "", {CHAMPION: "1"}),
])  # fmt: skip
def test_the_champion_is_the_version_of_the_published_file_whose_bounds_hold(
    passed: str, experiment: str, champion: dict[str, str], clone: Clone
) -> None:
    done = clone.run(sys.executable, "-c", DESCRIBE.replace("PASSED", passed), DVC_EXP_NAME=experiment)
    assert done.stderr == ""
    model = client_of(clone).get_registered_model("bnn-full")
    assert {name: str(version) for name, version in model.aliases.items()} == champion


def test_the_version_of_the_published_file_has_its_scores_and_the_card(clone: Clone) -> None:
    clone.run(sys.executable, "-c", DESCRIBE.replace("PASSED", "False"))
    client = client_of(clone)
    ours, other = (client.get_model_version("bnn-full", number) for number in ("1", "2"))
    assert ours.tags["test.macro_f1"] == "0.5"
    assert "packed_bytes" not in ours.tags
    assert ours.description.endswith(CARD)
    assert ours.description.startswith("test.macro_f1 0.5")
    assert not other.description


def test_nothing_is_described_where_nothing_was_registered(clone: Clone) -> None:
    names = rows(clone.folder / "mlflow.db", "select name from registered_models")
    assert names == [("bnn-full",)]


def test_an_experiment_has_an_alias_of_its_own_that_mlflow_takes(tmp_path: Path) -> None:
    names = ["a.b", "a-b", "a/b", "v1", "V12", "latest", "Latest", CANDIDATE, CHAMPION, "two-bits"]
    aliases = [alias(name) for name in names]
    assert len(set(map(str.lower, aliases))) == len(names)
    assert alias("two-bits") == "two-bits"
    assert alias(None) == CANDIDATE
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_registered_model("m")
    version = client.create_model_version("m", source=str(tmp_path)).version
    for each in aliases:
        client.set_registered_model_alias("m", each, version)
    assert set(client.get_registered_model("m").aliases) == set(aliases)
