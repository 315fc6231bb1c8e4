"""The packed network in MLflow: registered, without pickle, and served over HTTP from the store alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from support import networks
from support.clone import Clone
from support.servers import free_port, served

from bnnlib.data import splits
from bnnlib.packed import reference
from bnnlib.packed.model import ModelError
from bnnlib.serving import pyfunc

NAME = "bnn-packed"


@pytest.fixture(scope="module")
def images(parts: dict[str, splits.Split]) -> NDArray[np.uint8]:
    return parts["test"].images[:2]


@pytest.fixture(scope="module")
def store(make_clone: Callable[[str], Clone]) -> Clone:
    """A fresh store, filled by the stage `pack` as DVC runs it."""
    clone = make_clone("serving")
    stage = clone.run(sys.executable, "-m", "stages.pack", "models/binary.safetensors", "models/again.bnn")
    assert "warning: MLflow" not in stage.stderr
    assert "Hint:" not in stage.stderr
    assert (clone.folder / "models/again.bnn").read_bytes() == networks.COMMITTED.read_bytes()
    return clone


@pytest.fixture(scope="module")
def model_folder(store: Clone) -> Path:
    [found] = (store.folder / "mlartifacts").rglob("MLmodel")
    return found.parent


def test_the_model_holds_the_file_its_code_and_exact_requirements(model_folder: Path) -> None:
    about = yaml.safe_load((model_folder / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"] == pyfunc.__name__
    assert (model_folder / "data/again.bnn").read_bytes() == networks.COMMITTED.read_bytes()
    assert (model_folder / "code/bnnlib/serving/pyfunc.py").is_file()
    assert [path for path in model_folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".pyc"}] == []
    requirements = (model_folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} >= {"numpy", "pandas"}
    assert all("==" in line for line in requirements)
    example = json.loads((model_folder / "serving_input_example.json").read_text())
    assert np.shape(example["inputs"]) == (2, 28, 28)


def test_the_signature_names_images_digits_and_probabilities(model_folder: Path) -> None:
    signature = yaml.safe_load((model_folder / "MLmodel").read_text())["signature"]
    [entry] = json.loads(signature["inputs"])
    assert entry["tensor-spec"] == {"dtype": "object", "shape": [-1, 28, 28]}
    columns = [(column["name"], column["type"]) for column in json.loads(signature["outputs"])]
    assert columns == [("digit", "long"), ("probability", "double")]


@pytest.fixture(scope="module")
def address(store: Clone) -> Iterator[str]:
    """Address of `mlflow models serve` for the newest version; ended with its children."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@candidate"]
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    extra = {"MLFLOW_TRACKING_URI": f"sqlite:///{store.folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    outside = store.folder.parent  # not in the repository, so that its bnnlib is not the one on the path
    environment = {**store.environment, **extra}
    with served([*command, *options], f"{url}/ping", store.folder / "serve.log", outside, environment):
        yield url


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def test_the_served_network_answers_with_the_digits_of_the_reference(address: str, images: NDArray[np.uint8]) -> None:
    logits = reference.logits(networks.committed(), images).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    [first, second] = post(address, {"inputs": images.tolist()})["predictions"]
    assert [first["digit"], second["digit"]] == logits.argmax(axis=1).tolist()
    # Ten exponentials, a sum and a division in float64: a few dozen roundings of 2**-53 each.
    assert [first["probability"], second["probability"]] == pytest.approx(softmax.max(axis=1), rel=64 * 2**-53)


def image_with(value: object) -> list[list[list[object]]]:
    """One image, blank except for one pixel."""
    image: list[list[object]] = [[0] * 28 for _ in range(28)]
    image[27][3] = value
    return [image]


PIXELS = "expected whole numbers from 0 to 255"
SHAPE = "does not match expected shape (-1, 28, 28)"
INPUTS: dict[str, tuple[object, str]] = {
    "one image, no batch": ([[0] * 28] * 28, f"(28, 28) {SHAPE}"),
    "27 columns": ([[[0] * 27] * 28], f"(1, 28, 27) {SHAPE}"),
    "rows of unequal lengths": ([[[0] * 28] * 27 + [[0] * 27]], f"(1, 28) {SHAPE}"),
    "nothing in it": ([], "an input of type <class 'list'> was found"),
    "beyond a byte": (image_with(256), f"images: pixel 256, {PIXELS}"),
    "below zero": (image_with(-1), f"images: pixel -1, {PIXELS}"),
    "a fraction": (image_with(0.5), f"images: pixel 0.5, {PIXELS}"),
    "no number": (image_with(float("nan")), f"images: pixel nan, {PIXELS}"),
    "infinite": (image_with(float("inf")), f"images: pixel inf, {PIXELS}"),
    "huge": (image_with(10**400), f"images: pixel of 1329 bits, {PIXELS}"),
    "a truth value": (image_with(True), f"images: a value of type bool, {PIXELS}"),
    "a digit as text": (image_with("1"), f"images: a value of type str, {PIXELS}"),
    "a hole": (image_with(None), f"images: a value of type NoneType, {PIXELS}"),
    "an object": (image_with({"a": [1]}), f"images: a value of type dict, {PIXELS}"),
    "text": ("digits", "'digits'"),
    "null": (None, "None"),
    "a table": ({"pixel": [1, 2]}, "un-named"),
}


def refusal(url: str, content: bytes) -> str:
    """The message with which a body is refused, with a status code of client errors."""
    request = urllib.request.Request(f"{url}/invocations", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as response:
        text = response.read().decode()
        assert 400 <= response.code < 500, text
    return text


@pytest.mark.parametrize(("inputs", "message"), INPUTS.values(), ids=INPUTS)
def test_malformed_input_is_refused_by_name_and_the_server_stays_up(
    inputs: object, message: str, address: str, images: NDArray[np.uint8]
) -> None:
    assert message in refusal(address, json.dumps({"inputs": inputs}).encode())
    assert len(post(address, {"inputs": images.tolist()})["predictions"]) == len(images)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"{}",
        b'{"images": []}',
        b'{"inputs": [], "instances": []}',
        b'{"dataframe_split": {"data": [[1, 2]]}}',
        b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}",
    ],
)
def test_a_malformed_body_is_refused_and_the_server_stays_up(
    content: bytes, address: str, images: NDArray[np.uint8]
) -> None:
    assert "message" in json.loads(refusal(address, content))
    assert len(post(address, {"inputs": images.tolist()})["predictions"]) == len(images)


def test_a_body_too_deep_for_the_parser_leaves_the_server_up(address: str, images: NDArray[np.uint8]) -> None:
    content = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as response:
        assert response.code >= 400  # MLflow's JSON parser fails: 500
    assert len(post(address, {"inputs": images.tolist()})["predictions"]) == len(images)


LOAD = """
import sys
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(np.load(sys.argv[2]).astype(object))["digit"].tolist())
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
        pyfunc.load(networks.COMMITTED).predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("value", [-1, 256, 0.5, 254.99999999, np.nan, np.inf])
def test_the_classifier_refuses_values_that_are_not_bytes(value: float) -> None:
    images = np.zeros((2, 28, 28))
    images[1, 27, 27] = value
    with pytest.raises(pyfunc.PixelError, match=rf"images: pixel {value}.*, expected whole numbers from 0 to 255"):
        pyfunc.load(networks.COMMITTED).predict(images)


def test_the_classifier_takes_whole_numbers_of_any_type(images: NDArray[np.uint8]) -> None:
    classifier = pyfunc.load(networks.COMMITTED)
    expected = classifier.predict(images)
    for dtype in (np.int64, np.float32, np.float64):
        assert classifier.predict(images.astype(dtype)).equals(expected)
