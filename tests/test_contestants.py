"""Contestants predict like the network that they stand for, whatever runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import networks
import numpy as np
import peers
import pytest
import torch
from conftest import ROOT
from numpy.typing import NDArray

from bnnlib import evaluation, mnist, models, weights
from bnnlib.benchmark import contestants, onnx_peer
from bnnlib.benchmark.contestants import Contestant
from bnnlib.benchmark.onnx_peer import PeerError
from bnnlib.models import Published
from bnnlib.packed import reference

IMAGES = 200
# Rounding of float32 sums of up to 2592 products, in another order; the logits reach a few tens.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def published() -> Published:
    return weights.read(ROOT / "models/full.safetensors")


@pytest.fixture(scope="module")
def data(parts: dict[str, mnist.Split]) -> mnist.Split:
    return mnist.limited(parts["development"], IMAGES)


@pytest.fixture(scope="module")
def float32_logits(published: Published, data: mnist.Split) -> NDArray[np.float64]:
    """The folded network's logits, worked in float64 and layer by layer without any folding."""
    x = (torch.from_numpy(data.images).double()[:, None] / mnist.WHITE - mnist.MEAN) / mnist.STD
    *blocks, head = models.restore(published).double().layers()
    for i, layer in enumerate([*blocks, head]):
        y = torch.nn.functional.conv2d(x, layer.weight)
        norm = layer.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        y = (y - mean[:, None, None]) / torch.sqrt(variance + norm.eps)[:, None, None]
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
        x = y.relu() if i < len(blocks) else y
    return x.flatten(1).numpy()


@pytest.fixture(scope="module")
def predictions(published: Published, data: mnist.Split) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """What the 16-bit and the 1-bit network predict."""
    full = evaluation.logits(models.restore(published), torch.from_numpy(data.images)).numpy()
    return full.argmax(axis=1), reference.logits(networks.committed(), data.images).argmax(axis=1)


@pytest.fixture(autouse=True)
def _threads() -> Callable[[], None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_in_both_layouts_computes_the_network(
    threads: int, published: Published, data: mnist.Split, float32_logits: NDArray[np.float64]
) -> None:
    field = contestants.of_torch(contestants.fold(published), threads)
    assert [each.name for each in field] == list(contestants.TORCH)
    for each in field:
        each.prepare()
        assert torch.get_num_threads() == threads
        found = each.logits(data.images)
        assert found.dtype == np.float32
        assert np.abs(found - float32_logits).max() < TOLERANCE


def test_onnxruntime_in_float32_computes_the_network(
    published: Published, data: mnist.Split, float32_logits: NDArray[np.float64]
) -> None:
    peers.package("onnxruntime")
    run = onnx_peer.session(onnx_peer.graph(contestants.fold(published)), 1)
    assert np.abs(run(data.images) - float32_logits).max() < TOLERANCE


def test_every_contestant_predicts_like_its_network(
    published: Published, data: mnist.Split, predictions: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> None:
    folded = contestants.fold(published)
    peers, missing = contestants.of_onnxruntime(folded, data.images[:64], [1])
    field = [*contestants.of_torch(folded, 1), *peers, *contestants.of_ours(networks.committed(), [1, 2])]
    assert {each.name for each in field} | missing.keys() == contestants.WHAT.keys()
    for each in field:
        found = contestants.check(each, data, *predictions)
        assert found.accuracy > 0.95
        assert found.agreement >= 0.99


def test_int8_is_int8(published: Published, data: mnist.Split) -> None:
    onnx = peers.package("onnx")
    peers.package("onnxruntime")
    plain = onnx_peer.graph(contestants.fold(published))
    model = onnx.load_from_string(onnx_peer.quantize(plain, data.images[:64]))
    stored = {tuple(tensor.dims): tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert len(stored) == 4
    assert set(stored.values()) == {onnx.TensorProto.INT8}
    scales = [tuple(t.dims) for t in model.graph.initializer if t.name.startswith("weight") and "scale" in t.name]
    assert sorted(scales) == [(8,), (10,), (16,), (32,)]  # one for each output channel


@pytest.mark.parametrize("name", ["torch_fp32", "onnxruntime_int8", "fast"])
def test_a_contestant_that_predicts_something_else_is_not_timed(name: str) -> None:
    labels = np.arange(100) % 10
    data = mnist.Split(np.zeros((100, 28, 28), np.uint8), labels.astype(np.uint8))
    wrong = labels.copy()
    wrong[:2] += 1
    logits = np.eye(11, dtype=np.float32)[wrong]
    with pytest.raises(contestants.ContestantError, match=f"{name}: 98.00% of 100 predictions are those of its netw"):
        contestants.check(Contestant(name, 1, lambda _: logits), data, labels, labels)


def test_each_network_has_its_own_predictions() -> None:
    labels = np.arange(100) % 10
    data = mnist.Split(np.zeros((100, 28, 28), np.uint8), labels.astype(np.uint8))
    other = (labels + 1) % 10
    logits = np.eye(10, dtype=np.float32)[other]
    found = contestants.check(Contestant("fast", 1, lambda _: logits), data, full=labels, one_bit=other)
    assert (found.accuracy, found.agreement) == (0.0, 1.0)


def test_batches_are_those_that_the_images_fill_and_the_contestant_takes() -> None:
    field = [Contestant(name, 1, lambda images: images[:, 0].astype(np.float32)) for name in ("reference", "fast")]

    def sizes(images: int) -> list[tuple[str, int]]:
        entries = contestants.entries(field, np.zeros((images, 28, 28), np.uint8))
        assert [len(entry.run()) for entry in entries] == [entry.key.batch for entry in entries]
        return [(entry.key.name, entry.key.batch) for entry in entries]

    assert sizes(1024) == [("reference", 1), ("reference", 64), *(("fast", n) for n in (1, 64, 256, 1024))]
    assert sizes(63) == [("reference", 1), ("fast", 1)]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_peers_that_are_not_installed(
    package: str, monkeypatch: pytest.MonkeyPatch, published: Published, data: mnist.Split
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    field, missing = contestants.of_onnxruntime(contestants.fold(published), data.images, [1])
    assert field == []
    assert missing.keys() == {"onnxruntime_fp32", "onnxruntime_int8"}
    for name, reason in missing.items():
        assert reason.startswith(f"{name} needs the package {package} (")
        assert reason.endswith("pip install 'bnnlib[peers]'")


def test_a_session_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PeerError, match="needs the package onnxruntime"):
        onnx_peer.session(b"", 1)
