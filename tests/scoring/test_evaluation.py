"""Scores of a network over a data set."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import topologies
from torch.nn import functional

from bnnlib.config.spec import Quantization
from bnnlib.data.splits import Split
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import NonFiniteError
from bnnlib.scoring import evaluation

GENERATOR = np.random.default_rng(4)
DATA = Split(GENERATOR.integers(0, 256, (23, 28, 28), dtype=np.uint8), GENERATOR.integers(0, 10, 23, dtype=np.uint8))
IMAGES, LABELS = evaluation.tensors(DATA, "cpu")


def network(bits: int) -> ConvNet:
    torch.manual_seed(0)
    model = ConvNet(topologies.SMALL, Quantization(bits=bits))
    with torch.no_grad():
        model(IMAGES)  # in training mode: updates the running statistics
    return model.eval()


def test_tensors_keep_the_images_and_widen_the_labels() -> None:
    assert (IMAGES.dtype, tuple(IMAGES.shape)) == (torch.uint8, (23, 28, 28))
    assert LABELS.dtype == torch.int64
    assert np.array_equal(IMAGES.numpy(), DATA.images)
    assert LABELS.tolist() == DATA.labels.tolist()


@pytest.mark.parametrize("bits", [1, 16])
def test_scores_are_those_of_the_logits(bits: int) -> None:
    model = network(bits)
    with torch.inference_mode():
        outputs = model(IMAGES)
    found = evaluation.evaluate(model, IMAGES, LABELS)
    # Both sum 23 float64 numbers, perhaps in another order: 23 roundings of 2**-53.
    expected = functional.cross_entropy(outputs.double(), LABELS).item()
    assert found.scores.loss == pytest.approx(expected, rel=23 * 2**-53)
    assert found.losses.tolist() == functional.cross_entropy(outputs.double(), LABELS, reduction="none").tolist()
    assert found.predictions.dtype == np.uint8
    assert found.predictions.tolist() == outputs.argmax(dim=1).tolist()
    assert found.scores.accuracy == np.mean(found.predictions == DATA.labels)
    assert found.confusion.sum() == 23
    for label, prediction in zip(DATA.labels, found.predictions, strict=True):
        assert found.confusion[label, prediction] > 0


def test_losses_are_the_logarithms_of_the_probabilities() -> None:
    outputs = torch.full((3, 10), -1000.0)
    outputs[0, :2] = outputs[1, :2] = torch.tensor([1.0, 3.0]).log()
    outputs[2, 0] = 1000.0
    found = evaluation.score(outputs, torch.tensor([0, 1, 1]))
    assert found.losses == pytest.approx([math.log(4), math.log(4 / 3), 2000], rel=1e-6)
    assert found.scores.loss == pytest.approx(found.losses.mean())


@pytest.mark.parametrize("batch", [1, 5, 22, 23])
def test_the_batch_size_does_not_matter(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(1)
    whole = evaluation.evaluate(model, IMAGES, LABELS)
    monkeypatch.setattr(evaluation, "BATCH", batch)
    parts = evaluation.evaluate(model, IMAGES, LABELS)
    assert np.array_equal(parts.predictions, whole.predictions)
    # The 1-bit network's convolutions are exact; its last batch norm rounds three times (2**-24 each) numbers as large
    # as the logits, and a loss changes by at most twice as much as the logits. 4 is a margin.
    largest = evaluation.logits(model, IMAGES).abs().max().item()
    assert parts.scores.loss == pytest.approx(whole.scores.loss, abs=4 * 2 * 3 * 2**-24 * largest)
    assert parts.scores.accuracy == whole.scores.accuracy


def test_logits_that_overflow_are_refused() -> None:
    model = network(32)
    with torch.no_grad():
        model.head.norm.bias[3] = float("inf")
    with pytest.raises(NonFiniteError, match="the evaluation's loss is not finite"):
        evaluation.evaluate(model, IMAGES, LABELS)


def test_no_gradients_are_recorded() -> None:
    assert not evaluation.logits(network(1), IMAGES).requires_grad
