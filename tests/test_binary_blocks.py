"""The 1-bit blocks on bits and whole numbers against the same blocks in torch's own operators."""

from __future__ import annotations

import numpy as np
import pytest
import steps
import torch

from bnnlib import binary_blocks, convolution, models, quantizers
from bnnlib.models import ConvNet
from bnnlib.params import Quantization


def network(input_threshold: int = 100) -> ConvNet:
    return steps.network(Quantization(bits=1, input_threshold=input_threshold))


@pytest.mark.parametrize(("n", "input_threshold"), [(2, 34), (33, 200)])
def test_a_step_is_that_of_torch(n: int, input_threshold: int) -> None:
    model = network(input_threshold)
    logits, gradients, statistics = steps.outcome(model, n, compiled=True)
    # Statistics and gradients are sums of up to 13,200 float32 numbers on one side, so they agree to about four digits;
    # a sign at a tie that fell the other way would show as a difference of a hundredth and more.
    expected, expected_gradients, expected_statistics = steps.outcome(model, n, compiled=False)
    assert (logits.shape, logits.dtype) == ((n, 10), torch.float32)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert gradients.keys() == expected_gradients.keys() == dict(model.named_parameters()).keys()
    for name, gradient in gradients.items():
        error = (gradient - expected_gradients[name]).norm() / expected_gradients[name].norm()
        assert error < 2e-4, name
    for name, numbers in statistics.items():
        torch.testing.assert_close(numbers, expected_statistics[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "agree", "differ"])
def test_dot_products_are_exact_in_every_block(kind: str) -> None:
    generator = torch.Generator().manual_seed(4)
    for block in network().layers()[:3]:
        side = {1: 28, 32: 20, 16: 12}[block.weight.shape[1]]
        shape = (3, side, side, block.weight.shape[1])
        weight = torch.rand(block.weight.shape, generator=generator) - 0.5 if kind == "random" else torch.ones(1)
        weight = weight.expand(block.weight.shape)
        x = torch.rand(shape, generator=generator) - 0.5 if kind == "random" else torch.ones(shape)
        signs = quantizers.signs(-x if kind == "differ" else x)
        bits = (signs > 0).numpy().astype(np.uint32)
        axis = 2 if shape[3] == 1 else 3  # rows of pixels, else words of channels
        words = (bits << np.arange(shape[axis], dtype=np.uint32).reshape(-1, *[1] * (3 - axis))).sum(axis=axis)
        words = words.reshape(3, side, -1).astype(np.uint32)
        words = words[..., 0] if shape[3] == 1 else words
        found = binary_blocks._dots(words, weight)[..., : len(weight)]
        assert np.array_equal(found, convolution.convolve(signs, quantizers.signs(weight)).numpy())


def test_latent_weights_beyond_the_clip_get_no_gradient() -> None:
    model = network()
    _, gradients, _ = steps.outcome(model, 4, compiled=True)
    for number, block in enumerate(model.layers()[:3]):
        beyond = block.weight.detach().abs() > 1
        assert 0 < int(beyond.sum()) < beyond.numel()
        assert not gradients[f"blocks.{number}.weight"][beyond].any()


def test_prediction_is_that_of_torch_bit_for_bit() -> None:
    model = network()
    model(steps.batch(33)[0])  # moves the running statistics
    published = models.publish(model, epoch=1)
    images, _ = steps.batch(50)
    with torch.inference_mode():
        fast, plain = (models.restore(published, compiled=choice)(images) for choice in (True, False))
    assert torch.equal(fast, plain)
    assert len(torch.unique(fast)) > 10


def test_the_number_of_threads_has_no_say() -> None:
    steps.assert_threads_have_no_say(network())


@pytest.mark.parametrize(
    ("choices", "used"),
    [
        ({}, True),
        ({"surrogate": "approx"}, False),
        ({"channel_scale": True}, False),
        ({"real_share": 0.5}, False),
        ({"bits": 2}, False),
    ],
)
def test_which_networks_are_trained_on_bits(
    choices: dict[str, object], used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = binary_blocks.train
    monkeypatch.setattr(binary_blocks, "train", lambda *arguments: calls.append(arguments) or real(*arguments))
    ConvNet(Quantization.model_validate({"bits": 1, **choices})).train()(steps.batch(2)[0])
    assert bool(calls) is used


def test_a_network_whose_gradients_are_wanted_has_them_in_evaluation_mode_too() -> None:
    model = network().eval()
    model(steps.batch(4)[0]).sum().backward()
    assert model.layers()[0].weight.grad is not None
