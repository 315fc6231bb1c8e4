"""Torch, the reference, the fast engine, the exported C and ONNX give the same bits for any topology."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from support import exports, patterns, trained

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Block, Topology
from bnnlib.data import splits
from bnnlib.export import agreement, onnx_model, pack
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import publish
from bnnlib.packed import fast, reference
from bnnlib.packed.model import PackedModel


def assert_all_give(
    model: PackedModel, images: NDArray[np.uint8], dots: NDArray[np.float32], logits: NDArray[np.float32], folder: Path
) -> None:
    """All give torch's ``dots`` and ``logits``, (n, classes), bit for bit."""
    engine = fast.Engine(model)
    for found in (reference.dots(model, images), engine.dots(images)):
        assert np.array_equal(found, dots)
    bits = np.ascontiguousarray(logits).view(np.uint32)
    for found in (reference.logits(model, images), engine.logits(images)):
        assert np.array_equal(found.view(np.uint32), bits)
    program = exports.build_c(exports.find_compiler(), model, folder, ["-O1"])
    digits, c_bits = exports.run_c(program, images, logits.shape[1])
    assert np.array_equal(c_bits, bits)
    assert np.array_equal(digits, logits.argmax(axis=1))
    assert np.array_equal(exports.run_onnx(onnx_model.build(model), images).view(np.uint32), bits)


@settings(max_examples=20, deadline=None)  # few, because the C code of each is compiled
@given(trained.networks())
def test_any_topology(tmp_path_factory: pytest.TempPathFactory, network: trained.Trained) -> None:
    """Planes, kernels, pooling, channels on both sides of a word, reversed and constant channels."""
    assert_all_give(network.pack(), network.images, *network.outputs(), tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("kernel", [2, 7])
@pytest.mark.parametrize("channels", [33, 64])
@pytest.mark.parametrize(("pool", "count"), [(1, 2000), (3, 200)])
def test_one_block_on_one_plane(
    channels: int, kernel: int, pool: int, count: int, parts: dict[str, splits.Split], tmp_path: Path
) -> None:
    topology = Topology(input=(64,), blocks=(Block(channels=channels, kernel=kernel, pool=pool),))
    images = parts["test"].images[:count]
    model = patterns.random_network(topology, Quantization(bits=1), images)
    packed = pack.pack(publish(model, epoch=1))
    assert packed.blocks[0].flipped.any()
    dots, logits = outputs(model, images)
    assert_all_give(packed, images, dots, logits, tmp_path)


def outputs(model: ConvNet, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Torch's dot products of the head and logits, (n, 10)."""
    found = agreement.of_torch(model, images)
    return found.dots.astype(np.float32), found.logits
