"""Tiny trainings: the same results twice, and the scores that they report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support import topologies
from support.fits import MUON, TRAIN, VALIDATION, equal, fitted, fitted_once, recipe
from torch import Tensor

from bnnlib.config.spec import Augmentation
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import NonFiniteError, Published, restore
from bnnlib.scoring import evaluation
from bnnlib.scoring.metrics import Scores
from bnnlib.training import batches, loop
from bnnlib.training.loop import Epoch


@pytest.mark.parametrize("bits", [1, 16])
def test_muon_learns_and_repeats(bits: int) -> None:
    first, second = (fitted(bits, recipe=recipe(4, MUON)) for _ in range(2))
    assert first[-1].train.loss < first[0].train.loss
    assert all(equal(a.published, b.published) for a, b in zip(first, second, strict=True))
    assert not equal(first[-1].published, fitted(bits, recipe=recipe(epochs=4))[-1].published)


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_two_runs_are_bitwise_equal(bits: int) -> None:
    first = fitted_once(bits)
    torch.rand(3)  # random numbers drawn before do not matter
    second = fitted(bits)
    assert [epoch.row() for epoch in first] == [epoch.row() for epoch in second]
    assert all(equal(a.published, b.published) for a, b in zip(first, second, strict=True))


def test_another_seed_gives_another_network() -> None:
    first, second = fitted_once(1), fitted(1, seed=1)
    assert not equal(first[-1].published, second[-1].published)
    assert first[-1].row() != second[-1].row()


def test_the_seed_orders_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # The initial weights depend on the seed too and would hide an order that does not.
    seeds, shuffled = [], batches.shuffled

    def spy(images: Tensor, labels: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Any:
        seeds.append(generator.initial_seed())
        return shuffled(images, labels, size, augmentation, generator)

    monkeypatch.setattr(batches, "shuffled", spy)
    fitted(16, seed=5)
    assert seeds == [5, 5]


def test_training_learns() -> None:
    epochs = fitted(16, recipe=recipe(epochs=5))
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1].train.loss < epochs[0].train.loss
    assert epochs[-1].train.accuracy > 0.5  # a guess reaches 0.1


def test_rows_have_these_columns_in_this_order() -> None:
    [*_, last] = fitted_once(1)
    assert list(last.row()) == [
        "epoch",
        "learning_rate",
        "flip_ratio",
        "train_loss",
        "train_macro_f1",
        "train_accuracy",
        "validation_loss",
        "validation_macro_f1",
        "validation_accuracy",
    ]
    assert (last.row()["epoch"], last.row()["validation_loss"]) == (2, last.validation.loss)
    assert (last.row()["train_macro_f1"], last.row()["train_accuracy"]) == (last.train.macro_f1, last.train.accuracy)


def test_validation_scores_are_those_of_the_published_network() -> None:
    for epoch in fitted_once(16):
        restored = restore(epoch.published)
        assert epoch.validation == evaluation.evaluate(restored, *evaluation.tensors(VALIDATION, "cpu")).scores


def test_train_scores_are_means_over_images_not_batches() -> None:
    seen = [
        loop._Seen(torch.tensor(1.0), predictions=torch.tensor([0, 0, 1]), labels=torch.tensor([0, 0, 1])),
        loop._Seen(torch.tensor(5.0), predictions=torch.tensor([0]), labels=torch.tensor([1])),
    ]
    scores = loop._scores(seen, epoch=1)
    assert scores.loss == (3 * 1 + 1 * 5) / 4  # the mean of the batches' means would be 3
    assert scores.accuracy == 3 / 4
    assert scores.macro_f1 == (4 / 5 + 2 / 3) / 2


def test_train_scores_count_every_image_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, counts = [], []
    scores = loop._scores

    def spy(seen: list[loop._Seen], epoch: int) -> Scores:
        sizes.append([len(each.labels) for each in seen])
        counts.append(torch.bincount(torch.cat([each.labels for each in seen]), minlength=10).tolist())
        return scores(seen, epoch)

    monkeypatch.setattr(loop, "_scores", spy)
    fitted(16)
    assert sizes == [[33, 33, 32, 32]] * 2
    assert counts == [np.bincount(TRAIN.labels, minlength=10).tolist()] * 2


def test_a_loss_that_is_not_finite_names_its_epoch_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = loop._step, []

    def break_the_seventh(model: ConvNet, *rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            model.head.norm.bias.data[0] = float("nan")
        return step(model, *rest)

    monkeypatch.setattr(loop, "_step", break_the_seventh)
    with pytest.raises(NonFiniteError, match="loss is nan at epoch 2, step 3 of 4; a smaller learning rate may"):
        fitted(1)
    assert len(calls) == 8  # losses are checked after the epoch


def scored(epochs: list[Epoch], macro_f1: list[float]) -> list[Epoch]:
    # Loss and accuracy would choose another epoch, and so would the scores on the training images.
    return [
        replace(epoch, validation=Scores(f1, loss=f1, accuracy=1 - f1), train=Scores(1 - f1, loss=f1, accuracy=1 - f1))
        for epoch, f1 in zip(epochs, macro_f1, strict=True)
    ]


@pytest.mark.parametrize(
    ("macro_f1", "best"), [([0.1, 0.3, 0.2], 2), ([0.3, 0.1, 0.3], 1), ([0.2, 0.2, 0.2], 1), ([0.1, 0.2, 0.3], 3)]
)
def test_best_is_the_highest_validation_macro_f1_and_the_earlier_on_a_tie(macro_f1: list[float], best: int) -> None:
    published = Published({}, topologies.SMALL, bits=1, epoch=0)
    zero = Scores(0.0, 0.0, 0.0)
    epochs = [Epoch(number, 0.1, None, zero, zero, published) for number in (1, 2, 3)]
    assert loop.best(scored(epochs, macro_f1)).epoch == best
