"""Time contestants against one another: warm-up, then rounds in which each has its turn, medians and quartiles.

A machine's noise comes and goes over seconds. Within a round all contestants meet the same noise, so that ratios of
one round are steadier than the times themselves; the order within a round changes, so that none follows always the
same one.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Clock = Callable[[], float]  # seconds

MICROSECONDS = 1e6


class Key(NamedTuple):
    """What was timed: who, on how many threads, how many images at a time."""

    name: str
    threads: int
    batch: int


# Microseconds an image, one sample for each round.
Times = Mapping[Key, Sequence[float]]


@dataclass(frozen=True)
class Entry:
    """One call of ``run`` does ``key.batch`` images. ``prepare`` comes before each sample and is not timed."""

    key: Key
    run: Callable[[], object]
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and for each sample the seconds of untimed calls before it and of timed ones.

    The untimed calls let the threads of the one before come to rest: they spin for a while, waiting for more work.
    """

    rounds: int = 15
    settle_s: float = 0.005
    sample_s: float = 0.02


@dataclass(frozen=True)
class Spread:
    """Median and quartiles: a half of all samples lies from ``low`` to ``high``."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, between samples by straight lines (as NumPy's percentile)."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def measure(entries: Sequence[Entry], effort: Effort, clock: Clock = time.perf_counter) -> dict[Key, list[float]]:
    """Time each entry in each round: one warm-up call of all, then the rounds."""
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
    """The batch size, and among several names the one, with the smallest median; None where none was timed."""
    keys = [key for key in times if key.name in names and key.threads == threads]
    return min(keys, key=lambda key: statistics.median(times[key]), default=None)


def ratio(slow: Sequence[float], quick: Sequence[float]) -> Spread:
    """How many times quicker: the medians' ratio, and the quartiles of the ratios of each round."""
    each = spread([s / q for s, q in zip(slow, quick, strict=True)])
    return Spread(statistics.median(slow) / statistics.median(quick), each.low, each.high)


def _calls(entry: Entry, effort: Effort, clock: Clock) -> int:
    """Calls that fill a sample. The first call may compile or allocate, so the second is timed."""
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
