"""Batch norms that are estimated again after an epoch, from many images."""

from __future__ import annotations

import pytest
import torch
from support import topologies
from support.fits import TRAIN, fitted, fitted_once

from bnnlib.config.spec import Quantization
from bnnlib.nn.convnet import ConvNet
from bnnlib.scoring import evaluation
from bnnlib.training import loop


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_re_estimated_norms_do_not_change_the_training(bits: int) -> None:
    again = fitted(bits, norm_images=100)
    for plain, re_estimated in zip(fitted_once(bits), again, strict=True):
        assert plain.train == re_estimated.train
        for name, tensor in plain.published.tensors.items():
            same = torch.equal(tensor, re_estimated.published.tensors[name])
            assert same == ("running" not in name)


@pytest.mark.parametrize("bits", [1, 2, 16])
def test_re_estimated_norms_are_the_mean_over_batches(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the first layer, whose input does not depend on other norms; in two batches of equal size."""
    monkeypatch.setattr(loop, "NORM_BATCH", 50)
    torch.manual_seed(0)
    model = ConvNet(topologies.SMALL, Quantization(bits=bits))
    images, _ = evaluation.tensors(TRAIN, "cpu")
    loop.reestimate_norms(model, images[:100])
    first = model.layers()[0]
    with torch.no_grad():
        weight = first.quantized_weight()
        maps = first.pooled_dots(model.quantizer.input(images[:100], model.input_thresholds), weight)
    halves = maps.double().split(50)
    mean = torch.stack([half.mean(dim=(0, 2, 3)) for half in halves]).mean(dim=0)
    variance = torch.stack([half.var(dim=(0, 2, 3)) for half in halves]).mean(dim=0)
    torch.testing.assert_close(first.norm.running_mean, mean.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.norm.running_var, variance.float(), rtol=1e-4, atol=1e-4)
    assert [layer.norm.momentum for layer in model.layers()] == [0.1] * 4


def test_re_estimated_norms_are_those_of_the_weights_that_are_published() -> None:
    """Also in the first of two stages, where the training still uses real weights."""
    torch.manual_seed(0)
    staged, plain = (ConvNet(topologies.SMALL, Quantization(bits=1, real_share=share)) for share in (1.0, 0.0))
    plain.load_state_dict(staged.state_dict())
    images, _ = evaluation.tensors(TRAIN, "cpu")
    for model in (staged, plain):
        loop.reestimate_norms(model, images)
    for a, b in zip(staged.layers(), plain.layers(), strict=True):
        torch.testing.assert_close(a.norm.running_mean, b.norm.running_mean)
