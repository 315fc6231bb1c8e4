"""The ONNX model gives the bits of the reference's logits in onnxruntime, at every level of optimization."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import exports, networks, peers

from bnnlib.core.extras import MissingExtraError
from bnnlib.data import splits
from bnnlib.export import onnx_model
from bnnlib.packed import reference
from bnnlib.packed.model import PackedModel

onnx = peers.package("onnx")
ort = peers.package("onnxruntime")

LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]


def assert_same_bits(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert logits.dtype == expected.dtype == np.float32
    assert np.array_equal(logits.view(np.uint32), expected.view(np.uint32))


@pytest.fixture(scope="module")
def packed_model() -> PackedModel:
    return networks.committed()


def test_two_thousand_test_images(packed_model: PackedModel, parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:2000]  # the reference takes seconds for each thousand
    assert_same_bits(
        exports.run_onnx(onnx_model.build(packed_model), images, threads=2), reference.logits(packed_model, images)
    )


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_of_optimization(level: str, packed_model: PackedModel, parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:300]
    assert_same_bits(
        exports.run_onnx(onnx_model.build(packed_model), images, level), reference.logits(packed_model, images)
    )


@pytest.mark.parametrize("name", networks.SIZES)
def test_any_shape(name: str) -> None:
    model, images = networks.draw(name)
    assert_same_bits(exports.run_onnx(onnx_model.build(model), images), reference.logits(model, images))


@settings(max_examples=40, deadline=None)
@given(networks.any_sizes(), st.integers(0, 2**32 - 1), st.sampled_from(LEVELS))
def test_any_topology(sizes: networks.Sizes, seed: int, level: str) -> None:
    model, images = networks.build(sizes, seed, images=5)
    assert_same_bits(exports.run_onnx(onnx_model.build(model), images, level), reference.logits(model, images))


def test_the_model_is_valid_and_declares_its_inputs_and_outputs(packed_model: PackedModel) -> None:
    content = onnx_model.build(packed_model)
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    [entry], [exit_] = ort.InferenceSession(content).get_inputs(), ort.InferenceSession(content).get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["n", 28, 28])
    assert (exit_.name, exit_.type, exit_.shape) == ("logits", "tensor(float)", ["n", 10])
    assert content == onnx_model.build(packed_model)


def test_without_onnx_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bnnlib\[onnx\]'"):
        onnx_model.build(networks.draw("no block")[0])
