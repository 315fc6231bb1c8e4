"""`bnn benchmark`, once with the smallest sizes."""

from __future__ import annotations

import json
from pathlib import Path

import networks
import numpy as np
import peers
import pytest
from conftest import Bnn

from bnnlib import files, mnist
from bnnlib.benchmark import contestants


@pytest.fixture
def data(parts: dict[str, mnist.Split], tmp_path: Path) -> Path:
    """A folder with a few training and validation images."""
    development = parts["development"]
    for i, name in enumerate(("train", "validation")):
        rows = slice(100 * i, 100 * (i + 1))
        files.write_split(tmp_path / f"data/{name}.npz", mnist.Split(*(each[rows] for each in development)))
    return tmp_path / "data"


def test_all_that_there_is(bnn: Bnn, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.getloadavg", lambda: (1.5, 0.0, 0.0))
    peers.package("onnxruntime")
    code, output, errors = bnn(
        "benchmark", "--rounds", "1", "--images", "4", "--data", str(data), "--json", "--save", "--reports", "out"
    )
    assert code == 0, errors
    found = json.loads(output)
    assert files.read_json(Path("out/benchmark.json")) == found
    assert Path("out/benchmark.png").read_bytes().startswith(b"\x89PNG")
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


@pytest.mark.parametrize("option", [("--rounds", "0"), ("--images", "0")])
def test_nothing_to_measure_is_a_usage_error(option: tuple[str, str], bnn: Bnn) -> None:
    assert bnn("benchmark", *option)[0] == 2


def test_without_data_the_message_says_how_to_get_them(bnn: Bnn) -> None:
    code, *_ = bnn("benchmark")
    assert code == (
        "error: data/processed/validation.npz: cannot be read (No such file or directory); `dvc repro` makes it"
    )


def test_a_network_that_is_no_network(bnn: Bnn, data: Path) -> None:
    Path("nets").mkdir()
    Path("nets/binary.bnn").write_bytes(b"no model")
    Path("nets/full.safetensors").write_bytes((networks.COMMITTED.parent / "full.safetensors").read_bytes())
    code, *_ = bnn("benchmark", "--networks", "nets", "--data", str(data))
    assert str(code).startswith("error: nets/binary.bnn: packed model: magic: ")
    assert np.load(data / "train.npz")["images"].shape == (100, 28, 28)
