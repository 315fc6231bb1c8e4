"""The baseline's loop: its topology, what is binary in it, its input, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnnlib.benchmark.training import baseline_loop
from bnnlib.benchmark.training.baseline_loop import Convolution, Sign
from bnnlib.data.splits import Split
from bnnlib.scoring.metrics import Scores


def inputs_of_convolutions(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The input of each convolution."""
    seen: list[Tensor] = []
    for layer in model.modules():
        if isinstance(layer, Convolution):
            layer.register_forward_hook(lambda _layer, given, _output: seen.append(given[0].detach()))
    model(images)
    return seen


@pytest.mark.parametrize("binary", [False, True])
def test_topology(binary: bool) -> None:
    model = baseline_loop.network(binary=binary)
    assert sum(parameter.numel() for parameter in model.parameters()) == 55_712
    images = torch.zeros(3, 1, 28, 28)
    assert model(images).shape == (3, 10)
    shapes = [tuple(each.shape[1:]) for each in inputs_of_convolutions(model, images)]
    assert shapes == [(1, 28, 28), (32, 20, 20), (16, 12, 12), (8, 4, 4)]
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [(norm.num_features, norm.affine) for norm in norms] == [(32, False), (16, False), (8, False)]


def test_the_binary_network_has_signs_as_weights_activations_and_input() -> None:
    torch.manual_seed(0)
    model = baseline_loop.network(binary=True)
    for given in inputs_of_convolutions(model, torch.randn(5, 1, 28, 28)):
        assert given.unique().tolist() == [-1, 1]
    for layer in model.modules():
        if isinstance(layer, Convolution):
            assert layer.quantize(layer.weight).unique().tolist() == [-1, 1]
            ones = torch.ones(1, layer.in_channels, *layer.kernel_size)
            expected = torch.where(layer.weight >= 0, 1, -1).sum(dim=(1, 2, 3))
            assert layer(ones).flatten().tolist() == expected.tolist()


def test_the_other_network_is_real_valued() -> None:
    torch.manual_seed(0)
    model = baseline_loop.network(binary=False)
    images = torch.randn(5, 1, 28, 28)
    first, *hidden = inputs_of_convolutions(model, images)
    assert torch.equal(first, images)
    for given in hidden:
        assert given.min() == 0
        assert len(given.unique()) > 100
    [*_, head] = [layer for layer in model.modules() if isinstance(layer, Convolution)]
    assert torch.equal(head.quantize(head.weight), head.weight)


def test_sign_and_its_gradient() -> None:
    x = torch.tensor([-1.5, -1.0, -0.25, -0.0, 0.0, 1.0, 1.5], requires_grad=True)
    y = Sign()(x)
    y.backward(torch.full_like(x, 3.0))
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]


def test_an_image_is_normalised() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, 3, 4] = 255
    image, label = baseline_loop.Digits(Split(images, np.array([4, 7], np.uint8)))[1]
    assert (tuple(image.shape), image.dtype, label) == ((1, 28, 28), torch.float32, 7)
    assert image[0, 3, 4].item() == pytest.approx((1 - 0.1307) / 0.3081)
    assert image[0, 4, 3].item() == pytest.approx(-0.1307 / 0.3081)


def test_the_learning_rate_is_halved_when_the_validation_loss_stops_falling(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    def stuck(*_: object) -> Scores:
        return Scores(macro_f1=0.5, loss=1.0, accuracy=0.5)

    def note(_model: nn.Module, optimizer: torch.optim.Optimizer, *_: object) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(baseline_loop, "_evaluate", stuck)
    monkeypatch.setattr(baseline_loop, "_train", note)
    blank = Split(np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10)
    assert len(list(baseline_loop.fit(blank, blank, binary=False, epochs=8))) == 8
    assert rates == [0.01] * 4 + [0.005] * 3 + [0.0025]  # the first loss, then three that are not lower, and so on


def test_no_gradient_is_above_one() -> None:
    torch.manual_seed(0)
    model, images = baseline_loop.network(binary=False), torch.randn(2, 1, 28, 28) * 1e4
    optimizer = torch.optim.Adam(model.parameters())
    baseline_loop._train(model, optimizer, [(images, torch.tensor([0, 1]))], "cpu")  # type: ignore[arg-type]
    largest = max(part.grad.abs().max().item() for part in model.parameters() if part.grad is not None)
    assert largest == pytest.approx(1)


@pytest.mark.parametrize("binary", [False, True])
def test_it_learns(binary: bool, parts: dict[str, Split]) -> None:
    train, validation = (
        Split(*(each[rows] for each in parts["development"])) for rows in (slice(1000), slice(-300, None))
    )
    [scores] = baseline_loop.fit(train, validation, binary=binary, epochs=1)
    assert scores.macro_f1 > 0.3


def test_nondeterministic_algorithms_are_allowed_only_inside_the_loop() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        blank = Split(np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10)
        epochs = baseline_loop.fit(blank, blank, binary=False, epochs=1)
        seen: list[bool] = []
        watch = nn.modules.module.register_module_forward_hook(
            lambda *_: seen.append(torch.are_deterministic_algorithms_enabled())
        )
        next(epochs)
        watch.remove()
        assert set(seen) == {False}
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)
