"""`bnn benchmark`, of the prediction and of the training, once each with the smallest sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import patterns, peers
from support.clone import Bnn
from support.paths import ROOT

from bnnlib.benchmark.prediction import contestants
from bnnlib.core import files, records
from bnnlib.data import splits
from bnnlib.export import pack
from bnnlib.nn import weights
from bnnlib.packed import format as packed_format


@pytest.fixture
def data(parts: dict[str, splits.Split], tmp_path: Path) -> Path:
    """A folder with a few training and validation images."""
    development = parts["development"]
    for i, name in enumerate(("train", "validation")):
        rows = slice(100 * i, 100 * (i + 1))
        splits.write(tmp_path / f"data/{name}.npz", splits.Split(*(each[rows] for each in development)))
    return tmp_path / "data"


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """A folder with both networks."""
    folder = tmp_path / "networks"
    weights.write(folder / "full.safetensors", patterns.trained(16))
    files.write_bytes(folder / "binary.bnn", packed_format.encode(pack.pack(patterns.trained(1))))
    return folder


def test_all_that_there_is(bnn: Bnn, networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.getloadavg", lambda: (1.5, 0.0, 0.0))
    peers.package("onnxruntime")
    data = networks.parent / "data"
    for seed, name in enumerate(("train", "validation")):
        splits.write(data / f"{name}.npz", patterns.split(20, seed))
    code, output, errors = bnn(
        *("benchmark", "--rounds", "1", "--images", "4", "--networks", str(networks), "--data", str(data)),
        *("--json", "--save", "--reports", "out"),
    )
    assert code == 0, errors
    found = json.loads(output)
    assert files.read_json(Path("out/benchmark.json")) == found
    assert Path("out/benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert records.check_all(Path("out")) == []
    assert "rounds: 1;" in errors
    assert "warning: load average 1.5: other programs run too" in errors
    assert found["contestants"].keys() == contestants.WHAT.keys()
    for each in found["contestants"].values():
        assert {time["batch"] for time in each["times"]} == {1}
        assert all(time["us_per_image"]["median"] > 0 for time in each["times"])
    comparable = {name for name, value in found["ratios"].items() if value is not None}
    assert comparable >= {"torch_fp32", "onnxruntime_fp32", "onnxruntime_int8", "torch_fp32_latency"}
    if "avx2" in found["machine"]["isa"]:
        assert found["masked"]["torch_capability"] == "AVX2"
        assert found["masked"]["ratios"]["torch_fp32"] > 0
    assert str(data) not in output


def test_the_training(bnn: Bnn, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.getloadavg", lambda: (1.5, 0.0, 0.0))
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("threads: 2", "threads: 1"))
    code, output, errors = bnn(
        *("benchmark", "--training", "--rounds", "1", "--images", "40", "--epochs", "2", "--epochs-at-most", "1"),
        *("--data", str(data), "--json", "--save", "--reports", "out"),
    )
    assert code == 0, errors
    found = json.loads(output)
    assert files.read_json(Path("out/benchmark_training.json")) == found
    assert {path.name for path in Path("out").iterdir()} == {"benchmark_training.json", records.LIST}
    assert records.check_all(Path("out")) == []
    assert "warning: load average 1.5: other programs run too" in errors
    assert "full: 1 rounds of 40 images" in errors
    ours, other = found["loops"]
    assert f"binary, {other}: epoch 1/1, validation macro-F1 0." in errors
    assert (found["images"], found["plan"]["images"]) == ({"train": 100, "validation": 100}, 40)
    assert found["threads"] == 1
    for network in found["networks"].values():
        assert network["epoch_ratio"]["median"] > 0
        for name, epochs in ((ours, 2), (other, 1)):
            loop = network["loops"][name]
            assert loop["seconds_per_epoch"]["median"] > 0
            assert loop["time_to_score"]["reached"] is False  # nobody learns it from a hundred images
            assert loop["time_to_score"]["epochs"] == len(loop["time_to_score"]["macro_f1"]) == epochs
        assert network["score_ratio"]["value"] is None
    assert str(data) not in output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--epochs", "only with --training: --epochs"),
        ("--epochs-at-most", "only with --training: --epochs-at-most"),
        ("--params-yaml", "only with --training or --sizes: --params-yaml"),
    ],
)
def test_options_that_the_prediction_has_not(option: str, message: str, bnn: Bnn) -> None:
    code, _, errors = bnn("benchmark", option, "1")
    assert code == 2
    assert message in " ".join(errors.split())


def test_the_training_takes_no_trained_networks(bnn: Bnn) -> None:
    code, _, errors = bnn("benchmark", "--training", "--networks", "models")
    assert code == 2
    assert "not with --training: --networks" in " ".join(errors.split())


@pytest.mark.parametrize("option", [("--rounds", "0"), ("--images", "0"), ("--epochs", "0"), ("--epochs-at-most", "0")])
def test_nothing_to_measure_is_a_usage_error(option: tuple[str, str], bnn: Bnn) -> None:
    assert bnn("benchmark", *option)[0] == 2


def test_without_data_the_message_says_how_to_get_them(bnn: Bnn, networks: Path) -> None:
    code, *_ = bnn("benchmark", "--networks", str(networks))
    assert code == (
        "error: data/processed/validation.npz: cannot be read (No such file or directory); `dvc repro` makes it"
    )


def test_a_network_that_is_no_network(bnn: Bnn, networks: Path, data: Path) -> None:
    (networks / "binary.bnn").write_bytes(b"no model")
    code, *_ = bnn("benchmark", "--networks", str(networks), "--data", str(data))
    assert str(code).startswith(f"error: {networks / 'binary.bnn'}: packed model: magic: ")
