"""Mini-batches from a data set that lies in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images, drawn for each image anew, and made in this order.

    ``zoom``: width and height each times a factor between 1 / zoom and zoom, uniform in its logarithm. ``rotation``:
    turned by up to so many degrees each way. ``shift``: moved by up to so many pixels each way; black moves in.
    ``shift_share``: share of the images that are moved at all; it has no say in the other changes. ``contrast``: every
    pixel times a factor between 1 / contrast and contrast, uniform in its logarithm, white at most. To a 1-bit network,
    which knows ink from ground alone, that is a lower or a higher threshold: bolder or thinner strokes.
    """

    shift: int = 0
    shift_share: float = 1.0
    contrast: float = 1.0
    rotation: float = 0.0
    zoom: float = 1.0

    @property
    def warps(self) -> bool:
        """Whether images are turned or zoomed."""
        return self.rotation != 0 or self.zoom != 1


def shuffled(
    images: Tensor, labels: Tensor, batch_size: int, augmentation: Augmentation, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every image once, in random order, augmented.

    images: uint8 (n, 28, 28); labels: int64 (n,), on one device. ``generator`` lives on the CPU, so that the order is
    the same on every device. Where batch_size does not divide n, batches are a little larger than it, never
    smaller: batch norm needs more than one image.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    offsets = torch.randint(0, 2 * augmentation.shift + 1, (2, len(images)), generator=generator)
    offsets[:, torch.rand(len(images), generator=generator) >= augmentation.shift_share] = augmentation.shift
    offsets = offsets.to(images.device)
    exponents = 2 * torch.rand(len(images), generator=generator).to(images.device) - 1
    warps = torch.zeros(3, len(images), device=images.device)
    if augmentation.warps:
        warps = 2 * torch.rand(3, len(images), generator=generator).to(images.device) - 1
    drawn = (order, offsets, exponents, warps)
    parts = (part.tensor_split(count(len(images), batch_size), dim=-1) for part in drawn)
    for rows, moves, powers, (turns, *zooms) in zip(*parts, strict=True):
        batch = images[rows]
        if augmentation.warps:
            factors = augmentation.zoom ** torch.stack(zooms)
            batch = _warp(batch, torch.deg2rad(augmentation.rotation * turns), factors)
        if augmentation.shift:
            batch = _shift(batch, moves, augmentation.shift)
        if augmentation.contrast != 1:
            batch = _multiply(batch, augmentation.contrast**powers)
        yield batch, labels[rows]


def count(images: int, batch_size: int) -> int:
    """Batches in an epoch."""
    return max(1, images // batch_size)


def _multiply(images: Tensor, factors: Tensor) -> Tensor:
    """Pixels times the factor of their image, rounded down, at most 255: uint8 (n, side, side), float32 (n,)."""
    return (images * factors[:, None, None]).clamp_(max=255).to(torch.uint8)


def _warp(images: Tensor, angles: Tensor, factors: Tensor) -> Tensor:
    """Zoom each image's width and height, then turn it, about its centre; bilinear interpolation, black around.

    uint8 (n, side, side); angles in radians (n,), clockwise; factors (2, n).
    """
    sine, cosine, none = torch.sin(angles), torch.cos(angles), torch.zeros_like(angles)
    width, height = factors
    # Where each pixel comes from: turned back, then shrunk by the factors. The zooms are along the image's own axes.
    rows = [[cosine / width, sine / width, none], [-sine / height, cosine / height, none]]
    matrices = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = functional.affine_grid(matrices, [len(images), 1, *images.shape[1:]], align_corners=False)
    found = functional.grid_sample(images[:, None].float(), grid, align_corners=False)
    return found[:, 0].round().to(torch.uint8)


def _shift(images: Tensor, offsets: Tensor, shift: int) -> Tensor:
    """Crop each padded image at its own offset: (n, side, side), (2, n) -> (n, side, side)."""
    side = images.shape[1]
    padded = functional.pad(images, (shift, shift, shift, shift))
    steps = torch.arange(side, device=images.device)
    rows = (offsets[0, :, None] + steps)[:, :, None]  # (n, side, 1)
    columns = (offsets[1, :, None] + steps)[:, None, :]  # (n, 1, side)
    return padded[torch.arange(len(images), device=images.device)[:, None, None], rows, columns]
