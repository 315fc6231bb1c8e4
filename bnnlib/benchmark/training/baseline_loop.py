"""The training loop that the study started from (grassking100/bnn), rewritten for the comparison.

Topology: three 9x9 convolutions with 32, 16 and 8 channels, each followed by a batch norm without affine and a sign (1
bit) or a ReLU, then a 4x4 convolution to 10 logits; no padding, no biases: 55,712 weights. Training: images one by one
through torchvision's transforms, a DataLoader without workers, Adam with its learning rate halved when the validation
loss stops falling, clipped gradients. All in plain torch, as its users would write it.

Left out of the original: early stopping, because the caller decides when to stop; a clip of the latent weights that
never clips; the biases of the convolutions, which batch norm cancels, except in the last layer; and the 1-bit weights
that the last layer of its full-precision network has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bnnlib.config.topology import HEAD, Block, Topology
from bnnlib.data import mnist
from bnnlib.data.splits import Split
from bnnlib.scoring import evaluation
from bnnlib.scoring.metrics import Scores

BATCH = 128
LEARNING_RATE = 0.01
PATIENCE = 2  # epochs without a lower validation loss before the learning rate is reduced
FACTOR = 0.5  # by which it is multiplied then
LARGEST_GRADIENT = 1.0
# Input threshold 34: the sign of a normalised pixel is +1 where the pixel is 0.1307 * 255 = 33.3 or more.
TOPOLOGY = Topology(input=(34,), blocks=tuple(Block(channels=each, kernel=9, pool=1) for each in (32, 16, 8)))


class _SignFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)


class Sign(nn.Module):
    """y = +1 where x >= 0, else -1; dx = g where abs(x) <= 1, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Binarize a tensor of any shape."""
        return _SignFunction.apply(x)


class Convolution(nn.Conv2d):
    """A convolution without padding and bias; ``binary``: it uses the signs of its weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, binary: bool) -> None:
        super().__init__(inputs, outputs, kernel, bias=False)
        self.quantize = Sign() if binary else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, height, width) -> (n, outputs, height - kernel + 1, width - kernel + 1)."""
        return functional.conv2d(x, self.quantize(self.weight))


class Digits(Dataset[tuple[Tensor, int]]):
    """A split as torchvision's MNIST yields it: through PIL, normalised float32 tensors (1, 28, 28)."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((mnist.MEAN,), (mnist.STD,))])

    def __len__(self) -> int:
        return len(self.split.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.split.images[index])), int(self.split.labels[index])


def network(*, binary: bool) -> nn.Sequential:
    """Normalised images (n, 1, 28, 28) -> logits (n, 10). ``binary``: input, weights and activations are -1 or +1."""
    layers: list[nn.Module] = [Sign()] if binary else []
    for each in TOPOLOGY.layers():
        layers.append(Convolution(each.in_channels, each.out_channels, each.kernel, binary=binary))
        if each.name != HEAD:
            layers.append(nn.BatchNorm2d(each.out_channels, affine=False))
            layers.append(Sign() if binary else nn.ReLU())
    return nn.Sequential(*layers, nn.Flatten())


def fit(
    train: Split, validation: Split, *, binary: bool, epochs: int, device: str = "cpu", seed: int = 0
) -> Iterator[Scores]:
    """Train; yield the validation scores after each epoch."""
    torch.manual_seed(seed)
    model = network(binary=binary).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = ReduceLROnPlateau(optimizer, factor=FACTOR, patience=PATIENCE)
    batches = DataLoader(Digits(train), BATCH, shuffle=True)
    held_out = DataLoader(Digits(validation), BATCH)
    for _ in range(epochs):
        with _any_algorithm():
            _train(model, optimizer, batches, device)
            scores = _evaluate(model, held_out, device)
            schedule.step(scores.loss)
        yield scores


@contextmanager
def _any_algorithm() -> Iterator[None]:
    """Allow nondeterministic algorithms, as the original does; `runtime.configure` forbids them."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _train(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: DataLoader[tuple[Tensor, int]], device: str
) -> None:
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(images.to(device)), labels.to(device)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT, norm_type=float("inf"))
        optimizer.step()


@torch.no_grad()
def _evaluate(model: nn.Module, batches: DataLoader[tuple[Tensor, int]], device: str) -> Scores:
    model.eval()
    found = [(model(images.to(device)), labels.to(device)) for images, labels in batches]
    logits, labels = (torch.cat(each) for each in zip(*found, strict=True))
    return evaluation.score(logits, labels).scores
