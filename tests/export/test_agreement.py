"""The comparison of engines finds every difference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support import networks, topologies

from bnnlib.config.spec import Quantization
from bnnlib.export import agreement, pack
from bnnlib.export.agreement import Difference, Outputs
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import publish
from bnnlib.packed import reference
from bnnlib.report import thresholds

DOTS = np.array([[2, 4], [6, -8]], np.int32)
LOGITS = np.array([[0.0, 1.0], [3.0, -2.0]], np.float32)


def test_the_same_outputs_do_not_differ() -> None:
    as_floats = Outputs(DOTS.astype(np.float32), LOGITS.copy())
    assert agreement.difference(Outputs(DOTS, LOGITS), as_floats) == Difference(2, 0, 0, 0)


def test_each_kind_of_difference_is_counted() -> None:
    dots = DOTS.astype(np.float32)
    dots[0] += [0.25, 2]  # a fraction counts too
    logits = LOGITS.copy()
    logits[0] = [-0.0, 1.0]  # another bit, the same number
    logits[1] = [-2.5, np.nextafter(np.float32(-2), np.float32(0))]
    assert agreement.difference(Outputs(DOTS, LOGITS), Outputs(dots, logits)) == Difference(2, 2, 3, 1)


def test_every_pair_is_compared() -> None:
    other = Outputs(DOTS, LOGITS[:, ::-1].copy())
    found = agreement.compare({"a": Outputs(DOTS, LOGITS), "b": Outputs(DOTS, LOGITS), "c": other})
    changed = Difference(2, 0, 4, 2)
    assert found == {"a and b": Difference(2, 0, 0, 0), "a and c": changed, "b and c": changed}
    assert agreement.metrics({"test": found}) == {"agreement.test_logits": 8}


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def network() -> ConvNet:
    """The same network each time. The blocks' norms have the statistics of the images, the head's its initial ones."""
    torch.manual_seed(0)
    model = ConvNet(topologies.SMALL, Quantization(bits=1))
    for layer in model.layers():
        layer.norm.momentum = 1.0
    with torch.no_grad():
        model(torch.from_numpy(IMAGES))
    model.head.norm.reset_running_stats()
    return model.eval()


def test_the_dot_products_of_torch_give_its_logits() -> None:
    model, images = network(), IMAGES
    found = agreement.of_torch(model, images)
    assert np.array_equal(found.dots, np.round(found.dots))
    assert len(np.unique(found.dots)) > 10
    with torch.inference_mode():
        assert np.array_equal(found.logits, model(torch.from_numpy(images)).numpy())
    # The head's batch norm has its initial values: mean 0, variance 1, epsilon 1e-5.
    assert np.allclose(found.logits, found.dots / np.sqrt(1 + 1e-5), rtol=2**-21, atol=0)


def test_outputs_of_the_reference_and_of_an_engine() -> None:
    model, images = networks.draw("four blocks")
    found = agreement.of_reference(model, images)
    assert (found.dots.shape, found.logits.shape) == ((40, 11), (40, 11))
    assert agreement.difference(agreement.of_engine(reference.Engine(model), images), found) == Difference(40, 0, 0, 0)


@pytest.mark.parametrize("threads", [2, 3, 41])
def test_the_number_of_threads_does_not_matter(threads: int) -> None:
    model, images = networks.draw("four blocks")
    found = agreement.of_reference(model, images, threads)
    assert np.array_equal(found.dots, agreement.of_reference(model, images).dots)
    assert agreement.difference(found, agreement.of_reference(model, images)) == Difference(40, 0, 0, 0)


def test_the_three_engines_are_compared_in_pairs() -> None:
    trained, images = network(), IMAGES
    packed = pack.pack(publish(trained, epoch=1))
    other = dataclasses.replace(packed, input_thresholds=(35, 200))  # as a fast engine that is wrong
    found = agreement.compare_engines(trained, packed, reference.Engine(other), images, threads=2)
    assert tuple(found) == thresholds.PAIRS
    assert found["torch and reference"] == Difference(5, 0, 0, 0)
    assert found["torch and fast"] == found["reference and fast"]
    assert found["reference and fast"].logits > 10
