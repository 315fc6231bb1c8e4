"""Random changes of the training images: mirror, zoom, rotation, shift, contrast. All are uint8 (n, side, side)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bnnlib.config.spec import Augmentation


class Draws(NamedTuple):
    """Random numbers of images, the images last; drawn whether they are used or not, except the warps.

    ``mirrored``: (n,), true or false; ``offsets``: 0 to 2 * shift, whole, (2, n); ``exponents``: of the contrast, -1 to
    1, (n,); ``warps``: of rotation, width and height, -1 to 1, (3, n).
    """

    mirrored: Tensor
    offsets: Tensor
    exponents: Tensor
    warps: Tensor


def draw(augmentation: Augmentation, images: int, generator: torch.Generator, device: torch.device) -> Draws:
    """The random numbers of this many images, from a generator on the CPU, so that all devices get the same."""
    kept = torch.rand(images, generator=generator) >= augmentation.share
    mirrored = torch.rand(images, generator=generator) < 0.5
    offsets = torch.randint(0, 2 * augmentation.shift + 1, (2, images), generator=generator)
    exponents = 2 * torch.rand(images, generator=generator) - 1
    warps = torch.zeros(3, images)
    if augmentation.warps:
        warps = 2 * torch.rand(3, images, generator=generator) - 1
    mirrored[kept], offsets[:, kept], exponents[kept], warps[:, kept] = False, augmentation.shift, 0, 0
    return Draws(mirrored.to(device), offsets.to(device), exponents.to(device), warps.to(device))


def apply(augmentation: Augmentation, images: Tensor, draws: Draws) -> Tensor:
    """Images, each changed as its numbers say."""
    if augmentation.mirror:
        images = torch.where(draws.mirrored[:, None, None], images.flip(2), images)
    if augmentation.warps:
        rotations, *zooms = draws.warps
        images = warp(images, torch.deg2rad(augmentation.rotation * rotations), augmentation.zoom ** torch.stack(zooms))
    if augmentation.shift:
        images = shift(images, draws.offsets, augmentation.shift)
    if augmentation.contrast != 1:
        images = multiply(images, augmentation.contrast**draws.exponents)
    return images


def multiply(images: Tensor, factors: Tensor) -> Tensor:
    """Pixels times the factor of their image, rounded down, at most 255: uint8 (n, side, side), float32 (n,)."""
    return (images * factors[:, None, None]).clamp_(max=255).to(torch.uint8)


def warp(images: Tensor, angles: Tensor, factors: Tensor) -> Tensor:
    """Zoom each image's width and height, then rotate it, about its centre; bilinear interpolation, black around.

    uint8 (n, side, side); angles in radians (n,), clockwise; factors (2, n).
    """
    sine, cosine, none = torch.sin(angles), torch.cos(angles), torch.zeros_like(angles)
    width, height = factors
    # Where each pixel comes from: rotated back, then divided by the factors. The zooms are along the image's own axes.
    rows = [[cosine / width, sine / width, none], [-sine / height, cosine / height, none]]
    matrices = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = functional.affine_grid(matrices, [len(images), 1, *images.shape[1:]], align_corners=False)
    found = functional.grid_sample(images[:, None].float(), grid, align_corners=False)
    return found[:, 0].round().to(torch.uint8)


def shift(images: Tensor, offsets: Tensor, reach: int) -> Tensor:
    """Crop each padded image at its own offset: (n, side, side), (2, n) -> (n, side, side)."""
    side = images.shape[1]
    padded = functional.pad(images, (reach, reach, reach, reach))
    steps = torch.arange(side, device=images.device)
    rows = (offsets[0, :, None] + steps)[:, :, None]  # (n, side, 1)
    columns = (offsets[1, :, None] + steps)[:, None, :]  # (n, 1, side)
    return padded[torch.arange(len(images), device=images.device)[:, None, None], rows, columns]
