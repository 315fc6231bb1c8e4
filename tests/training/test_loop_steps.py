"""What happens in the steps of a training: to the weights, their signs, the surrogate and the learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import topologies
from support.fits import ADAM, BOP, MUON, fitted, fitted_once, recipe
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bnnlib.config.spec import Optimizer, Quantization
from bnnlib.nn import layers, quantizers
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import Published
from bnnlib.training import loop


class Operators(TorchDispatchMode):
    """Collects the names of the operators that torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# These make the program wait for a CUDA device: they read a number, or the result's size depends on the values.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal"}


@pytest.mark.parametrize(("bits", "optimizer"), [(1, ADAM), (1, MUON), (4, ADAM), (16, ADAM), (16, MUON)])
def test_no_step_waits_for_the_device(bits: int, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    step, operators = loop._step, Operators()

    def watched(*arguments: Any) -> Any:
        with operators:
            return step(*arguments)

    monkeypatch.setattr(loop, "_step", watched)
    fitted(bits, recipe=recipe(optimizer=optimizer))
    assert {"convolution", "convolution_backward"} <= operators.names
    assert operators.names & WAITING == set()
    with operators:
        torch.ones(1).item()
    assert operators.names & WAITING == {"_local_scalar_dense"}


class Watch:
    """Watches the network and the optimizer at each step."""

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
    assert watch.largest == [0.5] * 8  # some weight reaches the bound in each step, so the clip is needed


def test_the_surrogate_of_the_recipe_gets_the_progress_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []

    def watched(g: Tensor, x: Tensor, progress: float) -> Tensor:
        passed.append(progress)
        return quantizers.ste_gradient(g, x, progress)

    monkeypatch.setitem(quantizers.SURROGATES, "annealed", watched)
    fitted(1, quantization=Quantization(bits=1, surrogate="annealed"))
    steps = [step / 8 for step in range(8)]  # two epochs of four steps
    # Three activations a step; the weights keep "ste".
    assert passed == [progress for progress in steps for _ in range(3)]


def test_in_the_first_stage_the_weights_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    are_real = []
    real = layers.NormedConvolution.pooled_dots

    def spy(layer: layers.NormedConvolution, x: Tensor, weight: Tensor) -> Tensor:
        if layer.training:
            are_real.append(len(torch.unique(weight)) > 2)
        return real(layer, x, weight)

    monkeypatch.setattr(layers.NormedConvolution, "pooled_dots", spy)
    fitted(1, quantization=Quantization(bits=1, real_share=0.5))
    assert are_real == [True] * 4 * 4 + [False] * 4 * 4  # four layers, four steps an epoch


def test_bop_keeps_the_magnitudes_and_flips_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    step, magnitudes = loop._step, []

    def spy(model: ConvNet, *rest: Any) -> Any:
        done = step(model, *rest)
        magnitudes.append(model.head.weight.detach().abs())
        return done

    monkeypatch.setattr(loop, "_step", spy)
    ratios = [epoch.flip_ratio for epoch in fitted(1, recipe=recipe(optimizer=BOP), latent_clip=None)]
    assert all(torch.equal(each, magnitudes[0]) for each in magnitudes)
    assert all(ratio is not None and 0 < ratio < 1 for ratio in ratios)


def test_without_a_clip_latent_weights_grow(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert first.flip_ratio == int((before != codes(first.published)).sum()) / topologies.SMALL.weights
    assert (
        second.flip_ratio == int((codes(first.published) != codes(second.published)).sum()) / topologies.SMALL.weights
    )
    assert 0 < second.flip_ratio < 1


@pytest.mark.parametrize("bits", [2, 16])
def test_wider_weights_have_no_flip_ratio(bits: int) -> None:
    assert [epoch.flip_ratio for epoch in fitted_once(bits)] == [None, None]
