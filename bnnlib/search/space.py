"""The shapes that a search chooses from, each of at most so many weight bytes: a sample says in which proportion.

Blocks, their number and their pooling are those of a topology, the origin. A sample has the side of each kernel, the
width of each block but the first in proportion to the first, and at 1 bit the number of input planes. All channels are
then scaled together until the bytes are used up, so that no sample is wasted on a network that is too large.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bnnlib.config.topology import MAX_CHANNELS, Block, Topology
from bnnlib.data.mnist import SIDE, WHITE

STEP = 2  # channels come in multiples of it
REACH = 2  # pixels that a kernel may be smaller or larger than the origin's
MOST_PLANES = 8
WIDEST = 4.0  # a block is up to so much wider or narrower than in the origin, in proportion to the first block
VARIED = 3  # blocks, whose channels use up what a common scale leaves
WIDE = 32  # channels
HALVINGS = 50  # of the interval of scales: far below the share that one channel is of the largest block


class Range(NamedTuple):
    """The values of one parameter of a sample, both ends included; ``log``: a real number, even in its logarithm."""

    low: float
    high: float
    log: bool


@dataclass(frozen=True)
class Space:
    """Shapes around ``origin`` of at most ``limit`` weight bytes at this width. ``origin`` has a block at least."""

    origin: Topology
    bits: int
    limit: int

    def ranges(self) -> dict[str, Range]:
        """The parameters of a sample, by name."""
        found = {}
        for number, block in enumerate(self.origin.blocks, start=1):
            low, high = max(1, block.kernel - REACH), min(SIDE, block.kernel + REACH)
            found[f"kernel_{number}"] = Range(low, high, log=False)
            if number > 1:
                found[f"width_{number}"] = Range(1 / WIDEST, WIDEST, log=True)
        if self.bits == 1:
            found["planes"] = Range(1, max(MOST_PLANES, len(self.origin.input)), log=False)
        return found

    def start(self) -> dict[str, float]:
        """The sample that is the origin, scaled to the bytes."""
        kernels = {f"kernel_{number}": block.kernel for number, block in enumerate(self.origin.blocks, start=1)}
        known = {**kernels, "planes": len(self.origin.input)}
        return {name: known.get(name, 1.0) for name in self.ranges()}

    def bounds(self) -> tuple[int, int]:
        """The least and the most bytes that the origin can be scaled to."""
        kernels = [block.kernel for block in self.origin.blocks]
        ends = (self._built(self.origin.input, [end] * len(kernels), kernels) for end in (STEP, MAX_CHANNELS))
        least, most = (topology.weight_bytes(self.bits) for topology in ends)
        return least, most

    def topology(self, sample: Mapping[str, float]) -> Topology | None:
        """The shape of a sample; None where even its narrowest one is too large.

        Its channels are scaled together, then varied a little for the bytes that are left.
        """
        planes = thresholds(self.origin.input, int(sample["planes"])) if self.bits == 1 else ()
        kernels = self._fitting([int(sample[f"kernel_{number}"]) for number in self._numbers()])
        widths = [
            block.channels * sample.get(f"width_{number}", 1.0)
            for number, block in zip(self._numbers(), self.origin.blocks, strict=True)
        ]

        def built(channels: Sequence[int]) -> Topology:
            return self._built(planes, channels, kernels)

        if not self._fits(built([STEP] * len(widths))):
            return None
        low, high = 0.0, MAX_CHANNELS / min(widths)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._fits(built(_scaled(widths, middle))) else (low, middle)
        near = (channels for channels in _near(_scaled(widths, low)) if self._fits(built(channels)))
        return built(max(near, key=lambda channels: built(channels).weights))

    def _numbers(self) -> range:
        return range(1, len(self.origin.blocks) + 1)

    def _fits(self, topology: Topology) -> bool:
        return topology.weight_bytes(self.bits) <= self.limit

    def _fitting(self, kernels: Sequence[int]) -> list[int]:
        """The kernels, each cut down where it would leave too little of the map for the pooling that follows."""
        needed = [1]  # side of the map before each block that kernels of one pixel need, last to first
        for block in reversed(self.origin.blocks):
            needed.append(block.pool * needed[-1])
        left, found = SIDE, []
        for kernel, block, after in zip(kernels, self.origin.blocks, reversed(needed[:-1]), strict=True):
            found.append(min(kernel, left - block.pool * after + 1))
            left = (left - found[-1] + 1) // block.pool
        return found

    def _built(self, planes: tuple[int, ...], channels: Sequence[int], kernels: Sequence[int]) -> Topology:
        blocks = tuple(
            Block(channels=width, kernel=kernel, pool=block.pool)
            for width, kernel, block in zip(channels, kernels, self.origin.blocks, strict=True)
        )
        return Topology(input=planes if self.bits == 1 else (), blocks=blocks)


def thresholds(known: tuple[int, ...], planes: int) -> tuple[int, ...]:
    """The input thresholds of another number of planes, spread over the pixel values as the known ones are.

    >>> thresholds((32, 96, 160, 224), 2)
    (64, 192)
    """
    if planes == len(known):
        return known
    places = [0.0, *((number + 0.5) / len(known) for number in range(len(known))), 1.0]
    values = [0, *known, WHITE + 1]
    found: list[int] = []
    for number in range(planes):
        value = round(_between(places, values, (number + 0.5) / planes))
        least, most = (found[-1] + 1 if found else 1), WHITE - (planes - 1 - number)
        found.append(min(max(least, value), most))
    return tuple(found)


def _between(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """The value at a place of the line through the points."""
    after = next(number for number, each in enumerate(places) if each >= place)
    share = (place - places[after - 1]) / (places[after] - places[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


def _scaled(widths: Sequence[float], scale: float) -> list[int]:
    """Channels of these widths times a scale: they never fall while the scale rises."""
    return [min(MAX_CHANNELS, max(STEP, STEP * round(scale * width / STEP))) for width in widths]


def _near(channels: Sequence[int]) -> list[list[int]]:
    """The same, and all that differ from it by a step in the last blocks, in wide ones by two."""
    first, last = channels[:-VARIED], channels[-VARIED:]
    return [[*first, *each] for each in itertools.product(*map(_around, last))]


def _around(width: int) -> range:
    reach = STEP if width < WIDE else 2 * STEP
    return range(max(STEP, width - reach), min(MAX_CHANNELS, width + reach) + 1, STEP)
