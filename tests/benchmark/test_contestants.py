"""Contestants predict like their network, whatever runs them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import patterns, peers, topologies
from support.paths import ROOT
from torch.nn import functional

from bnnlib.benchmark.prediction import contestants, onnx_peer
from bnnlib.benchmark.prediction.contestants import Contestant
from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Topology
from bnnlib.data import mnist, splits
from bnnlib.export import pack
from bnnlib.nn.published import Published, publish, restore
from bnnlib.packed import reference
from bnnlib.report.figures import benchmark as figure
from bnnlib.scoring import evaluation

TOPOLOGIES = {"plain": topologies.BASELINE, "pooled": topologies.SMALL, "rows dropped": topologies.UNEVEN}
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)


def untrained(topology: Topology, signs: str) -> Published:
    """A full-precision network whose batch norms have the statistics of the images."""
    return publish(patterns.random_network(topology, Quantization(bits=16), IMAGES, signs), epoch=1)


def float64_logits(published: Published, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The network's logits in float64, layer by layer, without folding or half-precision values between layers."""
    x = (torch.from_numpy(images).double()[:, None] / mnist.WHITE - mnist.MEAN) / mnist.STD
    *blocks, head = restore(published).double().layers()
    for layer in [*blocks, head]:
        y = functional.max_pool2d(functional.conv2d(x, layer.weight), layer.pool)
        norm = layer.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        y = functional.batch_norm(y, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        x = y if layer is head else y.relu()
    return x.flatten(1).numpy()


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    """Float32 sums of up to 2592 products, in another order: errors of about 2592**0.5 * 6e-8 = 3e-6 in each layer."""
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


every_network = pytest.mark.parametrize(
    ("topology", "signs"), [(topology, signs) for topology in TOPOLOGIES.values() for signs in patterns.SIGNS]
)


@every_network
def test_torch_in_both_layouts_computes_the_network(topology: Topology, signs: str) -> None:
    published = untrained(topology, signs)
    expected = float64_logits(published, IMAGES)
    for threads in (1, 2):
        field = contestants.of_torch(contestants.fold(published), threads)
        assert [each.name for each in field] == list(contestants.TORCH)
        for each in field:
            each.prepare()
            assert torch.get_num_threads() == threads
            assert_close(each.logits(IMAGES), expected)


@every_network
def test_onnxruntime_in_float32_computes_the_network(topology: Topology, signs: str) -> None:
    peers.package("onnxruntime")
    published = untrained(topology, signs)
    run = onnx_peer.session(onnx_peer.graph(contestants.fold(published)), 1)
    assert_close(run(IMAGES), float64_logits(published, IMAGES))


def test_a_network_of_the_head_alone() -> None:
    published = untrained(Topology(input=(), blocks=()), "mixed")
    [head] = contestants.fold(published)
    assert_close(contestants.torch_logits([head], torch.channels_last)(IMAGES), float64_logits(published, IMAGES))


@pytest.mark.parametrize(("signs", "expected"), [("positive", [True] * 4), ("mixed", [False, False, True, True])])
def test_scales_are_separate_only_if_a_layer_pools_and_one_is_negative(signs: str, expected: list[bool]) -> None:
    folded = contestants.fold(untrained(topologies.SMALL, signs))
    assert [layer.pool for layer in folded] == [2, 2, 1, 1]
    assert [layer.scale is None for layer in folded] == expected


@pytest.mark.parametrize("signs", patterns.SIGNS)
def test_every_contestant_predicts_like_its_network(signs: str) -> None:
    published, one_bit = patterns.trained(16, signs), pack.pack(patterns.trained(1, signs))
    data = patterns.split(200, seed=2)
    full = evaluation.logits(restore(published), torch.from_numpy(data.images)).numpy().argmax(axis=1)
    folded = contestants.fold(published)
    others, missing = contestants.of_onnxruntime(folded, data.images[:64], [1])
    field = [*contestants.of_torch(folded, 1), *others, *contestants.of_ours(one_bit, [1, 2])]
    assert {each.name for each in field} | missing.keys() == contestants.WHAT.keys()
    for each in field:
        found = contestants.check(each, data, full, reference.logits(one_bit, data.images).argmax(axis=1))
        assert found.accuracy > 0.95
        assert found.agreement >= 0.99


@pytest.mark.parametrize("signs", patterns.SIGNS)
def test_int8_is_int8(signs: str) -> None:
    onnx = peers.package("onnx")
    peers.package("onnxruntime")
    plain = onnx_peer.graph(contestants.fold(untrained(topologies.SMALL, signs)))
    model = onnx.load_from_string(onnx_peer.quantize(plain, IMAGES))
    stored = {tuple(tensor.dims): tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert len(stored) == 4
    assert set(stored.values()) == {onnx.TensorProto.INT8}
    scales = [tuple(t.dims) for t in model.graph.initializer if t.name.startswith("weight") and "scale" in t.name]
    assert sorted(scales) == [(6,), (7,), (8,), (10,)]  # one for each output channel


@pytest.mark.parametrize("name", ["torch_fp32", "onnxruntime_int8", "fast"])
def test_a_contestant_with_wrong_predictions_is_refused(name: str) -> None:
    labels = np.arange(100) % 10
    data = splits.Split(np.zeros((100, 28, 28), np.uint8), labels.astype(np.uint8))
    wrong = labels.copy()
    wrong[:2] += 1
    logits = np.eye(11, dtype=np.float32)[wrong]
    with pytest.raises(contestants.ContestantError, match=f"{name}: 98.00% of 100 predictions are those of its netw"):
        contestants.check(Contestant(name, 1, lambda _: logits), data, labels, labels)


def test_a_contestant_is_compared_with_its_own_network() -> None:
    labels = np.arange(100) % 10
    data = splits.Split(np.zeros((100, 28, 28), np.uint8), labels.astype(np.uint8))
    other = (labels + 1) % 10
    logits = np.eye(10, dtype=np.float32)[other]
    found = contestants.check(Contestant("fast", 1, lambda _: logits), data, full=labels, one_bit=other)
    assert (found.accuracy, found.agreement) == (0.0, 1.0)


def test_batch_sizes_are_limited_by_the_images_and_by_the_contestant() -> None:
    field = [Contestant(name, 1, lambda images: images[:, 0].astype(np.float32)) for name in ("reference", "fast")]

    def sizes(images: int) -> list[tuple[str, int]]:
        entries = contestants.entries(field, np.zeros((images, 28, 28), np.uint8))
        assert [len(entry.run()) for entry in entries] == [entry.key.batch for entry in entries]
        return [(entry.key.name, entry.key.batch) for entry in entries]

    assert sizes(1024) == [("reference", 1), ("reference", 64), *(("fast", n) for n in (1, 64, 256, 1024))]
    assert sizes(63) == [("reference", 1), ("fast", 1)]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_peers_that_are_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    field, missing = contestants.of_onnxruntime(contestants.fold(untrained(topologies.SMALL, "mixed")), IMAGES, [1])
    assert field == []
    assert missing.keys() == {"onnxruntime_fp32", "onnxruntime_int8"}
    for reason in missing.values():
        assert f"needs {package}, which is not installed" in reason
        assert reason.endswith("pip install 'bnnlib[peers]'")


def test_all_modules_import_without_the_peers() -> None:
    code = "import sys; sys.modules.update(onnx=None, onnxruntime=None); import bnnlib.benchmark.prediction.record"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_figure_knows_which_contestants_run_the_1_bit_network() -> None:
    assert figure.ONE_BIT == contestants.ONE_BIT
