"""1-bit networks on which engines and exported code are compared: two trained ones, and small random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.paths import ROOT

from bnnlib.packed import format as packed_format
from bnnlib.packed.model import Block, Head, PackedModel

COMMITTED = ROOT / "models/binary.bnn"
BASELINE = ROOT / "tests/packed/golden/baseline_v1.bnn"


class Sizes(NamedTuple):
    """Sizes of a packed network. ``blocks``: (output channels, kernel, pool) of each; the head covers what is left."""

    side: int
    planes: int
    blocks: Sequence[tuple[int, int, int]]
    classes: int

    @property
    def head_side(self) -> int:
        """Side of the head's input."""
        left = self.side
        for _, kernel, pool in self.blocks:
            left = (left - kernel + 1) // pool
        return left


# Streams and windows that fill words of 32 bits, or a bit less or more; one pixel, one channel, no block; pooling that
# leaves out a row, covers the whole map, or has windows of more pixels than a tile; more planes than bits in a word.
SIZES: dict[str, Sizes] = {
    "one pixel": Sizes(1, 1, (), 1),
    "no block": Sizes(6, 2, (), 3),
    "kernels of one pixel": Sizes(3, 1, ((31, 1, 1), (33, 1, 1)), 2),
    "whole words": Sizes(8, 1, ((32, 3, 1), (64, 2, 1)), 10),
    "a bit short": Sizes(7, 3, ((31, 2, 1), (63, 3, 1)), 5),
    "a bit over": Sizes(7, 1, ((33, 2, 1), (65, 3, 1)), 5),
    "one channel": Sizes(12, 1, ((1, 5, 1), (1, 4, 1), (1, 3, 1)), 4),
    "four blocks": Sizes(15, 1, ((5, 3, 1), (3, 2, 1), (17, 4, 1), (2, 2, 1)), 11),
    "window of the whole map": Sizes(9, 1, ((7, 9, 1),), 10),
    "pooled": Sizes(14, 3, ((20, 3, 2), (48, 3, 2), (64, 2, 1)), 10),
    "pooled to one pixel": Sizes(10, 2, ((33, 3, 8),), 4),
    "pooled by three, rows left out": Sizes(13, 1, ((31, 2, 3), (5, 1, 3)), 3),
    "pooled by two, a row left out": Sizes(9, 4, ((65, 3, 2),), 2),
    "pooled without a kernel": Sizes(12, 1, ((16, 1, 2), (16, 1, 2), (17, 1, 3)), 2),
    "many planes": Sizes(5, 33, ((3, 2, 2),), 2),
    "a wide kernel on planes": Sizes(12, 3, ((4, 7, 1), (4, 2, 2)), 2),
}


def committed() -> PackedModel:
    """The committed 1-bit network."""
    return packed_format.decode(COMMITTED.read_bytes())


def baseline() -> PackedModel:
    """A trained network of the topology `baseline`, from a file of version 1."""
    return packed_format.decode(BASELINE.read_bytes())


def draw(name: str, seed: int = 0) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A random network of the named sizes, and 40 random images for it."""
    return build(SIZES[name], [seed, *name.encode()], images=40)


@st.composite
def any_sizes(
    draw: st.DrawFn,
    channels: Sequence[int] = (1, 2, 31, 32, 33, 63, 64, 65),
    largest_side: int = 12,
    largest_kernel: int = 4,
) -> Sizes:
    """Sizes of any small network: up to 4 planes and 3 blocks; pooling windows up to the whole map, most of them small.

    The default channels are on both sides of the ends of words.
    """
    side = left = draw(st.integers(1, largest_side))
    blocks = []
    for _ in range(draw(st.integers(0, 3))):
        kernel = draw(st.integers(1, min(largest_kernel, left)))
        pool = min(draw(st.sampled_from([1, 1, 2, 2, 3, 4, largest_side])), left - kernel + 1)
        blocks.append((draw(st.sampled_from(channels)), kernel, pool))
        left = (left - kernel + 1) // pool
    return Sizes(side, draw(st.integers(1, 4)), tuple(blocks), draw(st.sampled_from([1, 2, 10, 15, 16, 17, 33])))


def build(sizes: Sizes, seed: int | list[int], images: int) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A random network and random images for it. The head's first class has a scale of 0."""
    random = np.random.default_rng(seed)
    drawn, channels = [], sizes.planes
    for outputs, kernel, pool in sizes.blocks:
        drawn.append(_block(random, outputs, channels, kernel, pool))
        channels = outputs
    weights = _bits(random, sizes.classes, channels, sizes.head_side, sizes.head_side)
    scale, offset = random.normal(size=(2, sizes.classes)).astype(np.float32)
    scale[0] = 0
    chances = [0.02, 0.18, 0.3, 0.3, 0.18, 0.02]
    thresholds = tuple(random.choice([0, 1, 100, 128, 255, 256], sizes.planes, p=chances).tolist())
    model = PackedModel(sizes.side, thresholds, tuple(drawn), Head(weights, scale, offset))
    return model, random.integers(0, 256, (images, sizes.side, sizes.side), dtype=np.uint8)


def _bits(random: np.random.Generator, *shape: int) -> NDArray[np.bool_]:
    return random.integers(0, 2, shape).astype(bool)


def _block(random: np.random.Generator, outputs: int, channels: int, kernel: int, pool: int) -> Block:
    """A random block. About half of the windows reach a threshold, but (almost) all or none reach a fifth of them."""
    length = channels * kernel**2
    spread = round(length**0.5)
    middle = round(spread * (2 * np.log(pool**2)) ** 0.5)  # about the largest of pool**2 dot products
    near = np.clip(middle + random.integers(-spread, spread + 2, outputs), -length, length + 1)
    ends = random.choice([-length, -length + 1, length, length + 1], outputs)
    thresholds = np.where(random.random(outputs) < 0.8, near, ends).astype(np.int32)
    return Block(_bits(random, outputs, channels, kernel, kernel), thresholds, _bits(random, outputs), pool)
