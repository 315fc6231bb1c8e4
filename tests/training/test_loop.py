"""Tiny trainings: the same twice, within their bounds, and with the numbers they claim."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from support import topologies
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bnnlib.config.params import BopRecipe, Quantization, Recipe, Runtime, Training
from bnnlib.data.splits import Split
from bnnlib.nn import convnet, layers, quantizers
from bnnlib.nn.convnet import ConvNet, NonFiniteError, Published
from bnnlib.scoring import evaluation
from bnnlib.scoring.metrics import Scores
from bnnlib.training import batches, loop
from bnnlib.training.batches import Augmentation
from bnnlib.training.loop import Epoch


def split_of(count: int, seed: int) -> Split:
    """Noise with a bright square whose place is the class: something to learn."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count, dtype=np.uint8)
    images = generator.integers(0, 64, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 10 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 8, column : column + 5] += 150
    return Split(images, labels)


TRAIN, VALIDATION = split_of(130, seed=1), split_of(50, seed=2)


def recipe(epochs: int) -> Recipe:
    return Recipe(
        epochs=epochs,
        learning_rate=0.01,
        batch_size=32,
        weight_decay=0.0001,
        shift=1,
        shift_share=0.5,
        contrast=1.5,
        rotation=10.0,
        zoom=1.1,
    )


def config(bits: int, **changes: Any) -> Training:
    values: dict[str, Any] = {
        "variant": "binary",
        "topology": topologies.SMALL,
        "quantization": Quantization(bits=bits),
        "seed": 0,
        "runtime": Runtime(device="cpu", threads=2),
        "norm_images": None,
        "recipe": recipe(epochs=2),
        "latent_clip": 0.5 if bits == 1 else None,
        "muon_rate": None,
        "bop": None,
    }
    return Training(**{**values, **changes})


def fitted(bits: int, **changes: Any) -> list[Epoch]:
    return list(loop.fit(TRAIN, VALIDATION, config(bits, **changes)))


@cache
def fitted_once(bits: int) -> list[Epoch]:
    """The run that tests look at and leave as it is."""
    return fitted(bits)


def equal(a: Published, b: Published) -> bool:
    return a.tensors.keys() == b.tensors.keys() and all(
        torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors
    )


class Operators(TorchDispatchMode):
    """Notes the names of the operators that torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# What makes the program wait for a CUDA device: a number is read, or a result's size depends on the values.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"}


@pytest.mark.parametrize(("bits", "muon_rate"), [(1, None), (1, 0.01), (4, None), (16, None), (16, 0.01)])
def test_no_step_waits_for_the_device(bits: int, muon_rate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    step, met = loop._step, Operators()

    def watched(*arguments: Any) -> Any:
        with met:
            return step(*arguments)

    monkeypatch.setattr(loop, "_step", watched)
    fitted(bits, muon_rate=muon_rate)
    assert {"convolution", "convolution_backward"} <= met.names
    assert met.names & WAITING == set()
    with met:
        torch.ones(1).item()
    assert met.names & WAITING == {"_local_scalar_dense"}


@pytest.mark.parametrize("bits", [1, 16])
def test_muon_learns_and_repeats(bits: int) -> None:
    first, second = (fitted(bits, muon_rate=0.01, recipe=recipe(epochs=4)) for _ in range(2))
    assert first[-1].train.loss < first[0].train.loss
    assert all(equal(a.published, b.published) for a, b in zip(first, second, strict=True))
    assert not equal(first[-1].published, fitted(bits, recipe=recipe(epochs=4))[-1].published)


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_two_runs_are_bitwise_equal(bits: int) -> None:
    first = fitted_once(bits)
    torch.rand(3)  # what the process drew before has no say
    second = fitted(bits)
    assert [epoch.row() for epoch in first] == [epoch.row() for epoch in second]
    assert all(equal(a.published, b.published) for a, b in zip(first, second, strict=True))


def test_another_seed_gives_another_network() -> None:
    first, second = fitted_once(1), fitted(1, seed=1)
    assert not equal(first[-1].published, second[-1].published)
    assert first[-1].row() != second[-1].row()


def test_the_seed_orders_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # The initial weights differ with the seed too and would hide an order that does not.
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
    assert epochs[-1].train.accuracy > 0.5  # a guess has 0.1


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


class Watch:
    """Look at the network and the optimizer at each step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.largest: list[float] = []
        self.rates: list[float] = []
        self.signs: list[Tensor] = []
        step = loop._step

        def spy(model: ConvNet, used: list[torch.optim.Optimizer], *rest: Any) -> Any:
            if not self.signs:
                self.signs.append(self.signs_of(model))
            self.rates.append(used[0].param_groups[0]["lr"])
            done = step(model, used, *rest)
            self.largest.append(max(layer.weight.abs().max().item() for layer in model.layers()))
            return done

        monkeypatch.setattr(loop, "_step", spy)

    @staticmethod
    def signs_of(model: ConvNet) -> Tensor:
        return torch.cat([layer.weight.detach().flatten() >= 0 for layer in model.layers()])


def test_latent_weights_of_one_bit_stay_within_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    fitted(1, latent_clip=0.5)
    assert len(watch.largest) == 2 * 4
    assert watch.largest == [0.5] * 8  # some weight meets the bound in each step, so the clip was needed


def test_the_surrogate_of_the_recipe_is_told_how_far_the_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []

    def watched(g: Tensor, x: Tensor, progress: float) -> Tensor:
        met.append(progress)
        return quantizers.ste_gradient(g, x, progress)

    monkeypatch.setitem(quantizers.SURROGATES, "annealed", watched)
    fitted(1, quantization=Quantization(bits=1, surrogate="annealed"))
    steps = [step / 8 for step in range(8)]  # two epochs of four steps
    assert met == [progress for progress in steps for _ in range(3)]  # three activations a step; the weights keep "ste"


def test_in_the_first_stage_the_weights_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    real = layers.NormedConvolution.pooled_dots

    def spy(layer: layers.NormedConvolution, x: Tensor, weight: Tensor) -> Tensor:
        if layer.training:
            met.append(len(torch.unique(weight)) > 2)
        return real(layer, x, weight)

    monkeypatch.setattr(layers.NormedConvolution, "pooled_dots", spy)
    fitted(1, quantization=Quantization(bits=1, real_share=0.5))
    assert met == [True] * 4 * 4 + [False] * 4 * 4  # four layers, four steps an epoch


def test_bop_keeps_the_magnitudes_and_flips_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    step, magnitudes = loop._step, []

    def spy(model: ConvNet, *rest: Any) -> Any:
        done = step(model, *rest)
        magnitudes.append(model.head.weight.detach().abs())
        return done

    monkeypatch.setattr(loop, "_step", spy)
    ratios = [epoch.flip_ratio for epoch in fitted(1, bop=BopRecipe(rate=0.1, threshold=0.0), latent_clip=None)]
    assert all(torch.equal(each, magnitudes[0]) for each in magnitudes)
    assert all(ratio is not None and 0 < ratio < 1 for ratio in ratios)


def test_without_a_clip_they_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    fitted(2)
    assert max(watch.largest) > 0.5


def test_the_learning_rate_is_that_of_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    epochs = fitted(1)
    assert [epoch.learning_rate for epoch in epochs] == [watch.rates[3], watch.rates[7]]
    assert max(watch.rates) <= 0.01


def codes(published: Published) -> Tensor:
    return torch.cat([t.flatten() for name, t in published.tensors.items() if t.dtype == torch.uint8])


def test_flip_ratio_is_the_share_of_changed_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    first, second = fitted(1)
    before = watch.signs[0]
    assert first.flip_ratio == int((before != codes(first.published)).sum()) / topologies.SMALL.weights(1)
    assert second.flip_ratio == int(
        (codes(first.published) != codes(second.published)).sum()
    ) / topologies.SMALL.weights(1)
    assert 0 < second.flip_ratio < 1


@pytest.mark.parametrize("bits", [2, 16])
def test_wider_weights_have_no_flip_ratio(bits: int) -> None:
    assert [epoch.flip_ratio for epoch in fitted_once(bits)] == [None, None]


def test_validation_scores_are_those_of_the_published_network() -> None:
    for epoch in fitted_once(16):
        restored = convnet.restore(epoch.published)
        assert epoch.validation == evaluation.evaluate(restored, *evaluation.tensors(VALIDATION, "cpu")).scores


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_re_estimated_norms_leave_the_training_as_it_is(bits: int) -> None:
    again = fitted(bits, norm_images=100)
    for plain, re_estimated in zip(fitted_once(bits), again, strict=True):
        assert plain.train == re_estimated.train
        for name, tensor in plain.published.tensors.items():
            same = torch.equal(tensor, re_estimated.published.tensors[name])
            assert same == ("running" not in name)


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_re_estimated_norms_are_the_mean_over_batches(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first layer, whose input does not depend on other norms; in two batches of equal size."""
    monkeypatch.setattr(loop, "NORM_BATCH", 50)
    torch.manual_seed(0)
    model = ConvNet(topologies.SMALL, Quantization(bits=bits))
    images, _ = evaluation.tensors(TRAIN, "cpu")
    loop.reestimate_norms(model, images[:100])
    first = model.layers()[0]
    with torch.no_grad():
        weight = quantizers.quantize_weight(first.weight, bits)
        maps = first.pooled_dots(convnet.prepare(images[:100], bits, model.input_thresholds), weight)
    halves = maps.double().split(50)
    mean = torch.stack([half.mean(dim=(0, 2, 3)) for half in halves]).mean(dim=0)
    variance = torch.stack([half.var(dim=(0, 2, 3)) for half in halves]).mean(dim=0)
    torch.testing.assert_close(first.norm.running_mean, mean.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.norm.running_var, variance.float(), rtol=1e-4, atol=1e-4)
    assert [layer.norm.momentum for layer in model.layers()] == [0.1] * 4


def test_re_estimated_norms_are_those_of_the_weights_that_are_published() -> None:
    """In the first of two stages too, where the training still uses real weights."""
    torch.manual_seed(0)
    staged, plain = (ConvNet(topologies.SMALL, Quantization(bits=1, real_share=share)) for share in (1.0, 0.0))
    plain.load_state_dict(staged.state_dict())
    images, _ = evaluation.tensors(TRAIN, "cpu")
    for model in (staged, plain):
        loop.reestimate_norms(model, images)
    for a, b in zip(staged.layers(), plain.layers(), strict=True):
        torch.testing.assert_close(a.norm.running_mean, b.norm.running_mean)


def test_train_scores_are_means_over_images_not_batches() -> None:
    met = [
        loop._Met(torch.tensor(1.0), predictions=torch.tensor([0, 0, 1]), labels=torch.tensor([0, 0, 1])),
        loop._Met(torch.tensor(5.0), predictions=torch.tensor([0]), labels=torch.tensor([1])),
    ]
    scores = loop._scores(met, epoch=1)
    assert scores.loss == (3 * 1 + 1 * 5) / 4  # the mean of the batches' means would be 3
    assert scores.accuracy == 3 / 4
    assert scores.macro_f1 == (4 / 5 + 2 / 3) / 2


def test_train_scores_count_every_image_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, counts = [], []
    scores = loop._scores

    def spy(met: list[loop._Met], epoch: int) -> Scores:
        sizes.append([len(each.labels) for each in met])
        counts.append(torch.bincount(torch.cat([each.labels for each in met]), minlength=10).tolist())
        return scores(met, epoch)

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
    with pytest.raises(NonFiniteError, match="loss is nan at epoch 2, step 3 of 4; a smaller learning_rate may"):
        fitted(1)
    assert len(calls) == 8  # the epoch is run to its end, then looked at


def scored(epochs: list[Epoch], macro_f1: list[float]) -> list[Epoch]:
    # Loss and accuracy point the other way, and so do the scores on the training images.
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
