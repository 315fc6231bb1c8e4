"""What the two ways of training the blocks on a CPU share: batch norm by its sums, forward and backward.

`binary_blocks` holds a block's dot products as whole numbers, `real_blocks` as real ones. In both the gradients go
through an activation, which lets them pass where the normalised dot product lies between two bounds, and through batch
norm, whose gradient is a linear function of theirs and of the dot products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnnlib.compiled import LANES, Dots

Bounds = tuple[np.float32, np.float32]


@dataclass(frozen=True)
class Normed:
    """A batch norm in training: y = gamma * (dot - mean) * inverse + beta, as affine[0] * dot + affine[1] too."""

    count: int  # of the values that each channel has in the batch
    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]  # 1 / standard deviation
    gamma: NDArray[np.float64]  # the batch norm's weight
    affine: NDArray[np.float32]  # (2, channels), filled up to whole groups of lanes


def normalise(sums: NDArray[Any], count: int, norm: nn.BatchNorm2d) -> Normed:
    """Batch norm from the sums of ``count`` dot products and of their squares: (2, at least channels).

    Moves the running statistics as torch's batch norm does, the variance unbiased; without a momentum they are the
    means over the batches since they were reset.
    """
    total, squares = sums[:, : norm.num_features]
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)  # rounding may take that of equal numbers below 0
    batches = norm.get_buffer("num_batches_tracked").add_(1)
    momentum = 1 / batches.item() if norm.momentum is None else norm.momentum
    for name, now in (("running_mean", mean), ("running_var", variance * count / (count - 1))):
        norm.get_buffer(name).lerp_(torch.from_numpy(now).float(), momentum)
    inverse = 1 / np.sqrt(variance + norm.eps)
    gamma, beta = (part.detach().double().numpy() for part in (norm.weight, norm.bias))
    affine = np.stack([gamma * inverse, beta - mean * gamma * inverse]).astype(np.float32)
    return Normed(count, mean, inverse, gamma, filled(affine))


def through_norm(normed: Normed, sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], Tensor, Tensor]:
    """Slope of the dot products' gradient (3, channels), see `compiled`, and the gradients of gamma and beta.

    With x = (dot - mean) * inverse and the count m of values of a channel:
    d dot = gamma * inverse * (g - sum(g) / m - x * sum(g * x) / m).
    sums: (n, 2, channels), those of g and of g * dot over the pixels of an image.
    """
    of_g, of_g_dot = sums.sum(axis=0, dtype=np.float64)[:, : len(normed.mean)]
    of_g_x = normed.inverse * (of_g_dot - normed.mean * of_g)
    scale = normed.gamma * normed.inverse
    by_dot = -scale * of_g_x * normed.inverse / normed.count
    slope = np.stack([scale, by_dot, -scale * of_g / normed.count - by_dot * normed.mean]).astype(np.float32)
    return filled(slope), torch.from_numpy(of_g_x).float(), torch.from_numpy(of_g).float()


def through_last_activation(
    grad: Tensor, dots: Dots, normed: Normed, bounds: Bounds
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the last block's activations, (n, 4, 4, channels), that of what they were made of, with its sums.

    `compiled.spectrum_to_gradient` does the same for the other blocks.
    """
    g = filled(grad.numpy())
    dots = dots.astype(np.float32)
    z = dots * normed.affine[0] + normed.affine[1]
    g[(z < bounds[0]) | (z > bounds[1])] = 0
    return g, np.stack([g.sum(axis=(1, 2)), (g * dots).sum(axis=(1, 2))], axis=1)


def filled(channels: NDArray[Any]) -> NDArray[Any]:
    """Fill the channels, the last dimension, up with zeros to whole groups of lanes; always a copy."""
    *others, count = channels.shape
    full = np.zeros((*others, -(-count // LANES) * LANES), channels.dtype)
    full[..., :count] = channels
    return full


def grouped(channels: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in groups: (..., channels) -> (..., groups, lanes)."""
    return channels.reshape(*channels.shape[:-1], -1, LANES)
