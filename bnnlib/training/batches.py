"""Mini-batches from a data set that lies in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bnnlib.config.spec import Augmentation
from bnnlib.training import augment
from bnnlib.training.augment import Draws


def shuffled(
    images: Tensor, labels: Tensor, batch_size: int, augmentation: Augmentation, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every image once, in random order, augmented.

    images: uint8 (n, 28, 28); labels: int64 (n,), on one device. ``generator`` lives on the CPU, so that the order is
    the same on every device. Where batch_size does not divide n, batches are a little larger than it, never
    smaller: batch norm needs more than one image.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    drawn = (order, *augment.draw(augmentation, len(images), generator, images.device))
    parts = (part.tensor_split(count(len(images), batch_size), dim=-1) for part in drawn)
    for rows, *draws in zip(*parts, strict=True):
        yield augment.apply(augmentation, images[rows], Draws(*draws)), labels[rows]


def count(images: int, batch_size: int) -> int:
    """Batches in an epoch."""
    return max(1, images // batch_size)
