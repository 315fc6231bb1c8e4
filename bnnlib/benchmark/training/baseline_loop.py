"""The training loop that the study started from (grassking100/bnn), rewritten for the comparison.

Its topology: three convolutions 9x9 with 32, 16 and 8 channels, each with a batch norm without affine and a sign (1
bit) or a ReLU, then a convolution 4x4 to 10 logits. No padding, no biases: 55,712 weights. Its training: images one by
one through torchvision's transforms, a DataLoader without workers, Adam with its learning rate halved where the
validation loss gets stuck, gradients clipped. All in plain torch, as its users would write it. Left out of the original
are early stopping, because the caller says when to stop; a clip of the latent weights that clips nothing; the
convolutions' biases, which batch norm takes away again, except the last layer's; and that the last layer of the
full-precision network has 1-bit weights too.
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
PATIENCE = 2  # epochs without a lower validation loss before the learning rate falls
FACTOR = 0.5  # what it is multiplied by then
LARGEST_GRADIENT = 1.0
# Its input threshold: the sign of a normalised pixel is +1 from 0.1307 * 255 = 33.3 on.
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
    """A convolution without padding and bias; ``binary``: with the signs of its weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, binary: bool) -> None:
        super().__init__(inputs, outputs, kernel, bias=False)
        self.quantize = Sign() if binary else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, height, width) -> (n, outputs, height - kernel + 1, width - kernel + 1)."""
        return functional.conv2d(x, self.quantize(self.weight))


class Digits(Dataset[tuple[Tensor, int]]):
    """A split as torchvision's MNIST gives it: each image by way of PIL, a normalised float32 tensor (1, 28, 28)."""

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
    for each in TOPOLOGY.layers(bits=1):  # all widths have one plane here
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
    """Lift the demand for deterministic algorithms, which `runtime.configure` makes and this loop never made."""
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
