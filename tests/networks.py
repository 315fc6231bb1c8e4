"""The 1-bit networks that exported code is compared on: the committed one, and small ones of any shape at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed import format as packed_format
from bnnlib.packed.model import Block, Head, PackedModel

COMMITTED = Path(__file__).resolve().parents[1] / "models/binary.bnn"

# side of the image, (output channels, kernel) of each block, classes; the head covers what is left.
# Streams and windows below, on and above the 32-bit word, one pixel, one channel, no block at all.
SHAPES: dict[str, tuple[int, tuple[tuple[int, int], ...], int]] = {
    "one pixel": (1, (), 1),
    "no block": (6, (), 3),
    "kernels of one pixel": (3, ((31, 1), (33, 1)), 2),
    "whole words": (8, ((32, 3), (64, 2)), 10),
    "a bit short": (7, ((31, 2), (63, 3)), 5),
    "a bit over": (7, ((33, 2), (65, 3)), 5),
    "one channel": (12, ((1, 5), (1, 4), (1, 3)), 4),
    "four blocks": (15, ((5, 3), (3, 2), (17, 4), (2, 2)), 11),
    "window of the whole map": (9, ((7, 9),), 10),
}


def committed() -> PackedModel:
    """The committed 1-bit network."""
    return packed_format.decode(COMMITTED.read_bytes())


def draw(name: str, seed: int = 0) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A random network of the shape of that name, and 40 random images for it."""
    return build(*SHAPES[name], [seed, *name.encode()], images=40)


def build(
    side: int, blocks: Sequence[tuple[int, int]], classes: int, seed: int | list[int], images: int
) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A random network of (output channels, kernel) for each block, and random images for it.

    The head's first class has a scale of 0.
    """
    random = np.random.default_rng(seed)
    drawn, channels, left = [], 1, side
    for outputs, kernel in blocks:
        drawn.append(_block(random, outputs, channels, kernel))
        channels, left = outputs, left - kernel + 1
    weights = _bits(random, classes, channels, left, left)
    scale, offset = random.normal(size=(2, classes)).astype(np.float32)
    scale[0] = 0
    threshold = int(random.choice([0, 1, 100, 128, 255, 256], p=[0.02, 0.18, 0.3, 0.3, 0.18, 0.02]))
    model = PackedModel(side, threshold, tuple(drawn), Head(weights, scale, offset))
    return model, random.integers(0, 256, (images, side, side), dtype=np.uint8)


def _bits(random: np.random.Generator, *shape: int) -> NDArray[np.bool_]:
    return random.integers(0, 2, shape).astype(bool)


def _block(random: np.random.Generator, outputs: int, channels: int, kernel: int) -> Block:
    """Thresholds near the middle of what the dot products reach; a fifth always, almost, almost never or never hold."""
    length = channels * kernel**2
    spread = round(length**0.5)
    near = random.integers(-spread, spread + 2, outputs)
    ends = random.choice([-length, -length + 1, length, length + 1], outputs)
    thresholds = np.where(random.random(outputs) < 0.8, near, ends).astype(np.int32)
    return Block(_bits(random, outputs, channels, kernel, kernel), thresholds, _bits(random, outputs))
