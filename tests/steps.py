"""One step of a network's training by the compiled kernels or by torch's own operators, to compare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from bnnlib import threads
from bnnlib.models import ConvNet
from bnnlib.params import Quantization

Tensors = dict[str, Tensor]
Found = TypeVar("Found")


def network(quantization: Quantization, seed: int = 3) -> ConvNet:
    """Latent weights on both sides of the 1-bit clip's bounds, batch norms of either sign."""
    torch.manual_seed(seed)
    model = ConvNet(quantization)
    with torch.no_grad():
        for layer in model.layers():
            layer.weight.mul_(2.5)
            layer.norm.weight.normal_()
            layer.norm.bias.normal_()
    return model.train()


def batch(n: int, margin: int = 9) -> tuple[Tensor, Tensor]:
    """Random images with an empty margin, as real ones have: all pixels of some patches are alike. And labels."""
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
    images[:, :, :margin] = 0
    return images, torch.randint(0, 10, (n,), generator=generator)


def outcome(model: ConvNet, n: int, *, compiled: bool, margin: int = 9) -> tuple[Tensor, Tensors, Tensors]:
    """Logits, gradients and running statistics of one step."""
    for layer in model.layers():
        layer.norm.reset_running_stats()
    for module in (model, *model.layers()):
        module.compiled = compiled
    images, labels = batch(n, margin)
    logits = model(images)
    model.zero_grad()
    functional.cross_entropy(logits, labels).backward()
    gradients = {name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None}
    statistics = {name: part.clone() for name, part in model.named_buffers() if part.is_floating_point()}
    return logits.detach(), gradients, statistics


def on_threads(work: Callable[[], Found]) -> tuple[Found, Found]:
    """What ``work`` gives where torch has one thread, and where it has three."""
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(work())
    finally:
        torch.set_num_threads(before)
    return found[0], found[1]


def assert_threads_have_no_say(model: ConvNet) -> None:
    """A step by the kernels gives the same bits on one thread and on three."""

    def step() -> tuple[Tensor, Tensors, Tensors]:
        with threads.taken_from_torch():
            return outcome(model, 10, compiled=True)

    (logits, *alone), (logits_of_three, *of_three) = on_threads(step)
    assert torch.equal(logits, logits_of_three)
    for one, three in zip(alone, of_three, strict=True):
        assert all(torch.equal(one[name], three[name]) for name in one)
