"""Mini-batches from a data set that lies in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def shuffled(
    images: Tensor, labels: Tensor, batch_size: int, shift: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every image once, in random order, moved by up to ``shift`` pixels each way (black moves in).

    images: uint8 (n, 28, 28); labels: int64 (n,), on one device. ``generator`` lives on the CPU, so that the order is
    the same on every device. Where batch_size does not divide n, batches are a little larger than it, never
    smaller: batch norm needs more than one image.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    offsets = torch.randint(0, 2 * shift + 1, (2, len(images)), generator=generator).to(images.device)
    batches = count(len(images), batch_size)
    for rows, moves in zip(order.tensor_split(batches), offsets.tensor_split(batches, dim=1), strict=True):
        batch = images[rows]
        yield _shift(batch, moves, shift) if shift else batch, labels[rows]


def count(images: int, batch_size: int) -> int:
    """Batches in an epoch."""
    return max(1, images // batch_size)


def _shift(images: Tensor, offsets: Tensor, shift: int) -> Tensor:
    """Crop each padded image at its own offset: (n, side, side), (2, n) -> (n, side, side)."""
    side = images.shape[1]
    padded = functional.pad(images, (shift, shift, shift, shift))
    steps = torch.arange(side, device=images.device)
    rows = (offsets[0, :, None] + steps)[:, :, None]  # (n, side, 1)
    columns = (offsets[1, :, None] + steps)[:, None, :]  # (n, 1, side)
    return padded[torch.arange(len(images), device=images.device)[:, None, None], rows, columns]
