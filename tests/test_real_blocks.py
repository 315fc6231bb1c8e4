"""The blocks of 2 to 32 bits by compiled kernels against the same blocks in torch's own operators."""

from __future__ import annotations

import numpy as np
import pytest
import steps
import torch

from bnnlib import compiled, models, quantizers, real_blocks
from bnnlib.compiled import FREQUENCIES, LANES
from bnnlib.models import ConvNet
from bnnlib.params import Bits, Quantization

WIDTHS: list[Bits] = [2, 4, 8, 16, 32]


def network(bits: Bits) -> ConvNet:
    return steps.network(Quantization(bits=bits))


DRAWS = 5


@pytest.mark.parametrize("n", [5, 64])  # parts of one and two images, and of sixteen
@pytest.mark.parametrize("bits", WIDTHS)
def test_a_step_is_that_of_torch(bits: Bits, n: int) -> None:
    """The best of several draws: an error in the kernels is in all of them, a float beside a kink or a tie is not.

    Both ways round differently, and differently on each processor. An activation that then falls on the other side of a
    kink takes its gradient with it: up to a tenth of the norm, in one draw of six. A wrong factor is a tenth in all.
    """
    errors = [step_errors(bits, n, seed) for seed in range(DRAWS)]
    for name in errors[0]:
        assert min(each[name] for each in errors) < 3e-2, name


def step_errors(bits: Bits, n: int, seed: int) -> dict[str, float]:
    """How far the kernels' step is from torch's, as shares of the norm: of logits, gradients and statistics."""
    model = steps.network(Quantization(bits=bits), seed)
    logits, gradients, statistics = steps.outcome(model, n, compiled=True, margin=0)
    expected, expected_gradients, expected_statistics = steps.outcome(model, n, compiled=False, margin=0)
    assert (logits.shape, logits.dtype) == ((n, 10), torch.float32)
    assert gradients.keys() == expected_gradients.keys() == dict(model.named_parameters()).keys()
    pairs = {"logits": (logits, expected)}
    pairs |= {name: (gradient, expected_gradients[name]) for name, gradient in gradients.items()}
    pairs |= {name: (numbers, expected_statistics[name]) for name, numbers in statistics.items()}
    return {name: float((found - wanted).norm() / wanted.norm()) for name, (found, wanted) in pairs.items()}


# Halfway cases go to the even neighbour: 2049 lies between 2048 and 2050, 65520 between 65504 and infinity.
ACTIVATIONS = {
    2: ([-1.0, -0.0, 0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 2.0], [0, 0, 0, 0, 1 / 3, 2 / 3, 2 / 3, 1, 1]),
    16: (
        [-1.0, -0.0, 0.0, 2048.0, 2049.0, 2051.0, 2e-8, 3e-8, 65520.0],
        [0, 0, 0, 2048, 2048, 2052, 0, 2**-24, np.inf],
    ),
    32: ([-1.0, -0.0, 0.0, 2048.0, 2049.0, 0.1, 1e-30, 1e30, 65520.0], [0, 0, 0, 2048, 2049, 0.1, 1e-30, 1e30, 65520]),
}


@pytest.mark.parametrize("bits", ACTIVATIONS)
def test_activations_match_the_hand_worked_table_and_the_quantizers(bits: int) -> None:
    given, expected = (np.array(each, np.float32) for each in ACTIVATIONS[bits])
    found = activated(given, bits)
    finite = np.isfinite(expected)  # a transform takes differences of infinities
    assert found[finite].tolist() == expected[finite].tolist()
    assert not np.isfinite(found[~finite]).any()
    assert quantizers.quantize_activation(torch.from_numpy(given), bits).tolist() == expected.tolist()


def activated(z: np.ndarray, bits: int) -> np.ndarray:
    """The kernel's activations: a map of one pixel has its value as frequency 0."""
    y = np.zeros((len(z), 1, 1, 1, LANES), np.float32)
    y[:, 0, 0, 0, 3] = z
    affine = np.stack([np.ones((1, LANES)), np.zeros((1, LANES))]).astype(np.float32)
    out = np.empty((len(FREQUENCIES), len(z), 2, 1, LANES), np.float32)
    compiled.activated_to_spectrum(0, len(z), y, affine, bits, out)
    return out[0, :, 0, 0, 3]


@pytest.mark.parametrize("bits", WIDTHS)
def test_what_is_not_a_number_stays_so(bits: int) -> None:
    assert np.isnan(activated(np.array([np.nan], np.float32), bits)).all()


def test_halves_are_those_of_numpy() -> None:
    random = np.random.default_rng(0).uniform(0, 2, 2000).astype(np.float32) * np.exp2(np.arange(2000) % 44 - 28.0)
    edges = [2.0**-14, np.nextafter(2.0**-14, 0), 2.0**-25, np.nextafter(2.0**-25, 1), 65503.0, 65504.0, 65519.0]
    given = np.concatenate([random, edges]).astype(np.float32)
    given = given[given < 65520]
    assert activated(given, 16).tolist() == given.astype(np.float16).astype(np.float32).tolist()


def test_images_need_not_be_contiguous() -> None:
    model, (images, _) = network(16), steps.batch(5)
    assert torch.equal(model(images.transpose(1, 2)), model(images.transpose(1, 2).contiguous()))


@pytest.mark.parametrize("value", [0, 60, 255])
@pytest.mark.parametrize("bits", WIDTHS)
def test_images_of_one_value_give_finite_logits_and_gradients(bits: Bits, value: int) -> None:
    model = network(bits)
    logits = model(torch.full((8, 28, 28), value, dtype=torch.uint8))
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in model.parameters())


@pytest.mark.parametrize("bits", WIDTHS)
def test_prediction_is_that_of_torch(bits: Bits) -> None:
    model = network(bits)
    model(steps.batch(33)[0])  # moves the running statistics
    published = models.publish(model, epoch=1)
    images, _ = steps.batch(50)
    with torch.inference_mode():
        fast, plain = (models.restore(published, compiled=choice)(images) for choice in (True, False))
    assert (fast - plain).norm() / plain.norm() < 5e-3  # see above
    assert len(torch.unique(fast)) > 100


def test_the_number_of_threads_has_no_say() -> None:
    steps.assert_threads_have_no_say(network(16))


@pytest.mark.parametrize(("choices", "used"), [({}, True), ({"learned_step": True}, False)])
def test_which_networks_are_trained_by_kernels(
    choices: dict[str, object], used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = real_blocks.train
    monkeypatch.setattr(real_blocks, "train", lambda *arguments: calls.append(arguments) or real(*arguments))
    ConvNet(Quantization.model_validate({"bits": 4, **choices})).train()(steps.batch(2)[0])
    assert bool(calls) is used
