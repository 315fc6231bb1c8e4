"""The stage with real DVC, on tiny networks that nobody trained and images with something to learn in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support import tiny_sweeps
from support.clone import Clone
from support.fits import TRAIN, VALIDATION
from support.pipelines import client_of

from bnnlib.config import params
from bnnlib.config.spec import Quantization
from bnnlib.data import splits
from bnnlib.export import pack
from bnnlib.nn import weights
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import Published, publish
from bnnlib.packed import format as packed_format
from bnnlib.report import robustness

REPORT = "reports/robustness.csv"


@pytest.fixture(scope="module")
def study(make_clone: Callable[[str], Clone]) -> Clone:
    """A clone with all that the stage reads, which may run it."""
    clone = make_clone("robustness")
    (clone.folder / "params.yaml").unlink()
    tiny_sweeps.write_tiny_parameters(clone.folder / "params.yaml")
    weights.write(clone.folder / "models/full.safetensors", untrained(clone, Quantization(bits=16)))
    packed = pack.pack(untrained(clone, Quantization(bits=1)))
    (clone.folder / "models/binary.bnn").write_bytes(packed_format.encode(packed))
    for name, split in {"train": TRAIN, "validation": VALIDATION}.items():
        splits.write(clone.folder / f"data/processed/{name}.npz", split)
    clone.run("dvc", "unfreeze", "robustness")
    return clone


def untrained(clone: Clone, quantization: Quantization) -> Published:
    topology = params.load(clone.folder / "params.yaml").topology(quantization.bits)
    return publish(ConvNet(topology, quantization), epoch=1)


def test_the_stage_measures_three_networks_and_trains_once(study: Clone) -> None:
    repro = "dvc", "repro", "--single-item", "robustness"
    shown = study.run(*repro).stdout
    assert "8 bits: epoch 1/1" in shown
    assert "goes on from here" not in shown
    first = study.read(REPORT)
    table = robustness.read(study.folder / REPORT)
    assert len(table) == 3 * 2 * (1 + 11 * 20)
    assert table["bits"].unique().tolist() == [1, 8, 16]
    assert set(table["images"]) == {len(VALIDATION.labels)}
    [run] = client_of(study).search_runs(["1"], "tags.dvc_stage = 'robustness'")
    assert run.info.status == "FINISHED"
    assert run.data.params["model.bits"] == "8"
    assert run.data.metrics["robustness.1_bit.all.0.accuracy"] == table["accuracy"].iloc[0]
    assert [item.path for item in client_of(study).list_artifacts(run.info.run_id)] == ["robustness.csv"]
    (study.folder / REPORT).unlink()
    assert "the training goes on from here" in study.run(*repro).stdout
    assert study.read(REPORT) == first
