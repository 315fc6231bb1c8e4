"""Time contestants against one another: warm-up, then rounds in which each is timed once; medians and quartiles.

The noise of a machine comes and goes over seconds. All contestants of a round have the same noise, so ratios within a
round vary less than the times themselves. The order within a round is random, so none always follows the same one.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

Clock = Callable[[], float]  # seconds

MICROSECONDS = 1e6
DIGITS = 3  # decimals of times and ratios in the records


class Key(NamedTuple):
    """What was timed: contestant, threads, images per call."""

    name: str
    threads: int
    batch: int


# Microseconds per image, one sample per round.
Times = Mapping[Key, Sequence[float]]


@dataclass(frozen=True)
class Entry:
    """One call of ``run`` processes ``key.batch`` images. ``prepare`` is called before each sample and not timed."""

    key: Key
    run: Callable[[], object]
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Effort:
    """How long to measure: number of rounds, and per sample the seconds of untimed calls, then of timed calls.

    During the untimed calls the threads of the previous contestant, which spin while they wait for work, go to sleep.
    """

    rounds: int = 15
    settle_s: float = 0.005
    sample_s: float = 0.02


@dataclass(frozen=True)
class Spread:
    """Median and quartiles: half of all samples are between ``low`` and ``high``."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, linearly interpolated (as NumPy's percentile)."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def measure(entries: Sequence[Entry], effort: Effort, clock: Clock = time.perf_counter) -> dict[Key, list[float]]:
    """Warm up all entries, then time each of them once per round."""
    calls = {entry.key: _calls(entry, effort, clock) for entry in entries}
    times: dict[Key, list[float]] = {entry.key: [] for entry in entries}
    order, shuffle = list(entries), random.Random(0).shuffle  # noqa: S311 - no secret
    for _ in range(effort.rounds):
        shuffle(order)
        for entry in order:
            seconds = _sample(entry, calls[entry.key], effort.settle_s, clock)
            times[entry.key].append(seconds * MICROSECONDS / (calls[entry.key] * entry.key.batch))
    return times


def fastest(times: Times, names: Sequence[str], threads: int) -> Key | None:
    """The key with the smallest median among these names on this number of threads; None if none was timed."""
    keys = [key for key in times if key.name in names and key.threads == threads]
    return min(keys, key=lambda key: statistics.median(times[key]), default=None)


def ratio(slow: Sequence[float], quick: Sequence[float]) -> Spread:
    """How many times faster: the ratio of the medians, and the quartiles of the ratios of each round."""
    each = spread([s / q for s, q in zip(slow, quick, strict=True)])
    return Spread(statistics.median(slow) / statistics.median(quick), each.low, each.high)


def rounded(spread: Spread, factor: float = 1.0) -> dict[str, float]:
    """The spread times a factor, as JSON values."""
    return {name: round(value * factor, DIGITS) for name, value in asdict(spread).items()}


def _calls(entry: Entry, effort: Effort, clock: Clock) -> int:
    """Number of calls that fill a sample. The first call may compile or allocate, so the second is timed."""
    entry.prepare()
    entry.run()
    seconds = _timed(entry, 1, clock)
    return max(1, math.ceil(effort.sample_s / max(seconds, 1e-9)))


def _sample(entry: Entry, calls: int, settle_s: float, clock: Clock) -> float:
    entry.prepare()
    start = clock()
    entry.run()
    while clock() - start < settle_s:
        entry.run()
    return _timed(entry, calls, clock)


def _timed(entry: Entry, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        entry.run()
    return clock() - start
