"""The packed network in MLflow: registered, without pickle, and served over HTTP from the store alone."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networks
import numpy as np
import psutil
import pytest
import yaml
from conftest import Clone
from numpy.typing import NDArray

from bnnlib import mnist, served
from bnnlib.packed import reference
from bnnlib.packed.model import ModelError

NAME = "bnn-packed"


@pytest.fixture(scope="module")
def images(parts: dict[str, mnist.Split]) -> NDArray[np.uint8]:
    return parts["test"].images[:2]


@pytest.fixture(scope="module")
def store(make_clone: Callable[[str], Clone]) -> Clone:
    """A fresh store, filled by the stage `export` as DVC runs it."""
    clone = make_clone("serving")
    stage = clone.run(sys.executable, "-m", "stages.export", "models/binary.safetensors", "models/again.bnn")
    assert "warning: MLflow" not in stage.stderr
    assert (clone.folder / "models/again.bnn").read_bytes() == networks.COMMITTED.read_bytes()
    return clone


@pytest.fixture(scope="module")
def model_folder(store: Clone) -> Path:
    [found] = (store.folder / "mlartifacts").rglob("MLmodel")
    return found.parent


def test_the_model_holds_the_file_its_code_and_exact_requirements(model_folder: Path) -> None:
    about = yaml.safe_load((model_folder / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"] == served.__name__
    assert (model_folder / "data/again.bnn").read_bytes() == networks.COMMITTED.read_bytes()
    assert (model_folder / "code/bnnlib/served.py").is_file()
    assert [path for path in model_folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".pyc"}] == []
    requirements = (model_folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} >= {"numpy", "pandas"}
    assert all("==" in line for line in requirements)
    example = json.loads((model_folder / "serving_input_example.json").read_text())
    assert np.shape(example["inputs"]) == (2, 28, 28)


def test_the_signature_names_images_digits_and_probabilities(model_folder: Path) -> None:
    signature = yaml.safe_load((model_folder / "MLmodel").read_text())["signature"]
    [entry] = json.loads(signature["inputs"])
    assert entry["tensor-spec"] == {"dtype": "float64", "shape": [-1, 28, 28]}
    columns = [(column["name"], column["type"]) for column in json.loads(signature["outputs"])]
    assert columns == [("digit", "long"), ("probability", "double")]


@pytest.fixture(scope="module")
def address(store: Clone) -> Iterator[str]:
    """Address of `mlflow models serve` for the champion; ended with its children."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@champion"]
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    # Elsewhere than the repository, so that its own bnnlib is not the one on the path.
    extra = {"MLFLOW_TRACKING_URI": f"sqlite:///{store.folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = store.folder / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *options],
            cwd=store.folder.parent,
            env={**store.environment, **extra},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url, process, log, deadline=time.monotonic() + 120)
        yield url
    finally:
        end(process)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.3)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started, and wait until they are gone."""
    family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for child in family:
        child.terminate()
    process.terminate()
    process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def test_the_champion_answers_with_the_digits_of_the_reference(address: str, images: NDArray[np.uint8]) -> None:
    logits = reference.logits(networks.committed(), images).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    [first, second] = post(address, {"inputs": images.tolist()})["predictions"]
    assert [first["digit"], second["digit"]] == logits.argmax(axis=1).tolist()
    # Ten exponentials, a sum and a division in float64: a few dozen roundings of 2**-53 each.
    assert [first["probability"], second["probability"]] == pytest.approx(softmax.max(axis=1), rel=64 * 2**-53)


@pytest.mark.parametrize(
    "inputs",
    [[[0] * 28] * 28, [[[0] * 27] * 28], [[[256] * 28] * 28], [[[0.5] * 28] * 28], "digits", None],
    ids=["one image, no batch", "27 columns", "beyond a byte", "fractions", "text", "nothing"],
)
def test_malformed_input_is_refused_and_the_server_stays_up(
    inputs: object, address: str, images: NDArray[np.uint8]
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(address, {"inputs": inputs})
    with caught.value as response:
        assert response.code == 400
    assert len(post(address, {"inputs": images.tolist()})["predictions"]) == len(images)


LOAD = """
import sys
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(np.load(sys.argv[2]).astype(float))["digit"].tolist())
print(sys.modules["bnnlib"].__file__)
print("torch" in sys.modules)
"""


def test_the_model_runs_on_its_own_copy_of_the_code_and_without_torch(
    model_folder: Path, images: NDArray[np.uint8], environment: dict[str, str], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", LOAD, str(model_folder), "images.npy"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    digits = reference.logits(networks.committed(), images).argmax(axis=1).tolist()
    assert done.stdout.splitlines() == [str(digits), str(model_folder / "code/bnnlib/__init__.py"), "False"]


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 27), (2, 1, 28, 28)])
def test_the_classifier_refuses_other_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=rf"images: uint8 {re.escape(str(shape))}, expected uint8"):
        served.load(networks.COMMITTED).predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("value", [-1, 256, 0.5, 254.99999999, np.nan, np.inf])
def test_the_classifier_refuses_values_that_are_no_bytes(value: float) -> None:
    images = np.zeros((2, 28, 28))
    images[1, 27, 27] = value
    with pytest.raises(served.PixelError, match=rf"images: pixel {value}.*, expected whole numbers from 0 to 255"):
        served.load(networks.COMMITTED).predict(images)


def test_the_classifier_takes_whole_numbers_of_any_type(images: NDArray[np.uint8]) -> None:
    classifier = served.load(networks.COMMITTED)
    expected = classifier.predict(images)
    for dtype in (np.int64, np.float32, np.float64):
        assert classifier.predict(images.astype(dtype)).equals(expected)
