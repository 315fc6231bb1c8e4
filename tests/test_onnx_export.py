"""The ONNX model: onnxruntime gives the reference engine's logits bit for bit, whatever its optimiser does."""

from __future__ import annotations

import sys

import networks
import numpy as np
import peers
import pytest
from numpy.typing import NDArray

from bnnlib import mnist, onnx_export
from bnnlib.packed import reference
from bnnlib.packed.model import PackedModel

onnx = peers.package("onnx")
ort = peers.package("onnxruntime")

BATCH = 1000
LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]


def run(
    content: bytes, images: NDArray[np.uint8], level: str = "ORT_ENABLE_ALL", threads: int = 1
) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    return np.concatenate([session.run(["logits"], {"images": batch})[0] for batch in batches])


def assert_same_bits(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert logits.dtype == expected.dtype == np.float32
    assert np.array_equal(logits.view(np.uint32), expected.view(np.uint32))


@pytest.fixture(scope="module")
def packed_model() -> PackedModel:
    return networks.committed()


def test_two_thousand_test_images(packed_model: PackedModel, parts: dict[str, mnist.Split]) -> None:
    images = parts["test"].images[:2000]  # the reference takes seconds for a thousand
    assert_same_bits(run(onnx_export.build(packed_model), images, threads=2), reference.logits(packed_model, images))


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_of_optimisation(level: str, packed_model: PackedModel, parts: dict[str, mnist.Split]) -> None:
    images = parts["test"].images[:300]
    assert_same_bits(run(onnx_export.build(packed_model), images, level), reference.logits(packed_model, images))


@pytest.mark.parametrize("name", networks.SHAPES)
def test_any_shape(name: str) -> None:
    model, images = networks.draw(name)
    assert_same_bits(run(onnx_export.build(model), images), reference.logits(model, images))


def test_the_model_is_valid_and_its_shapes_follow(packed_model: PackedModel) -> None:
    content = onnx_export.build(packed_model)
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    [entry], [exit_] = ort.InferenceSession(content).get_inputs(), ort.InferenceSession(content).get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["n", 28, 28])
    assert (exit_.name, exit_.type, exit_.shape) == ("logits", "tensor(float)", ["n", 10])
    assert content == onnx_export.build(packed_model)


def test_without_onnx_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(onnx_export.OnnxExportError, match=r"pip install 'bnnlib\[peers\]'"):
        onnx_export.build(networks.draw("no block")[0])
