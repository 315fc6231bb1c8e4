"""Timing with a simulated clock: which calls are made and counted, and the statistics of the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bnnlib.benchmark import timing
from bnnlib.benchmark.timing import Effort, Entry, Key, Spread


class World:
    """Contestants that take a known time and log their calls. Reading the clock takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def entry(self, name: str, batch: int, *seconds: float) -> Entry:
        """The seconds of each call; all further calls take the last value."""
        waiting = itertools.chain(seconds[:-1], itertools.repeat(seconds[-1]))

        def run() -> None:
            self.now += next(waiting)
            self.log.append(name)

        return Entry(Key(name, 1, batch), run, lambda: self.log.append(f"prepare {name}"))

    def clock(self) -> float:
        return self.now


def test_times_are_microseconds_per_image() -> None:
    world = World()
    found = timing.measure([world.entry("a", 4, 0.5), world.entry("b", 1, 0.25)], Effort(3, 0.1, 1.0), world.clock)
    assert found == {("a", 1, 4): [125_000.0] * 3, ("b", 1, 1): [250_000.0] * 3}


def test_neither_warm_up_nor_settling_calls_are_counted() -> None:
    # Warm-up: calls of 9 s and 0.5 s; by the second, two calls fill a sample. Then one of 0.5 s to settle.
    world = World()
    [samples] = timing.measure([world.entry("a", 1, 9.0, 0.5, 0.5, 0.25)], Effort(1, 0.4, 1.0), world.clock).values()
    assert samples == [250_000.0]


def test_calls_settle_and_then_fill_the_sample() -> None:
    world = World()
    timing.measure([world.entry("a", 1, 0.25)], Effort(1, 0.75, 1.0), world.clock)
    # 2 to warm up; a round: 1 + 2 to settle, 4 timed.
    assert world.log == ["prepare a", *["a"] * 2, "prepare a", *["a"] * 3, *["a"] * 4]


def test_a_call_longer_than_a_sample_is_one_sample() -> None:
    world = World()
    timing.measure([world.entry("a", 1, 5.0)], Effort(2, 0.1, 1.0), world.clock)
    assert world.log.count("a") == 2 + 2 * 2


def test_every_round_times_each_contestant_once_in_a_random_order() -> None:
    world = World()
    timing.measure([world.entry(name, 1, 2.0) for name in "abcd"], Effort(6, 0.0, 1.0), world.clock)
    turns = [line.removeprefix("prepare ") for line in world.log if line.startswith("prepare ")][4:]
    rounds = ["".join(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert [sorted(each) for each in rounds] == [list("abcd")] * 6
    assert len(set(rounds)) > 1


def test_median_and_quartiles_computed_by_hand() -> None:
    assert timing.spread([4.0, 1.0, 3.0, 2.0, 100.0]) == Spread(3.0, 2.0, 4.0)
    assert timing.spread([1.0, 2.0]) == Spread(1.5, 1.25, 1.75)
    assert timing.spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_quartiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).random(11).tolist()
    found = timing.spread(values)
    expected = np.percentile(values, [25, 50, 75])
    assert (found.low, found.median, found.high) == pytest.approx(expected.tolist(), rel=1e-15)


def test_a_ratio_is_of_the_medians_and_its_quartiles_are_of_the_rounds() -> None:
    # Rounds: 10/1, 20/4, 60/3 = 10, 5, 20, of which the quartiles are 7.5 and 15; medians 20 and 3.
    assert timing.ratio([10.0, 20.0, 60.0], [1.0, 4.0, 3.0]) == Spread(20 / 3, 7.5, 15.0)


def test_a_spread_is_rounded_after_the_factor() -> None:
    assert timing.rounded(Spread(1.00049, 0.0004, 2.0), 2.0) == {"median": 2.001, "low": 0.001, "high": 4.0}


def test_the_fastest_key_of_several_names_on_a_number_of_threads() -> None:
    times = {Key("a", 1, 1): [5.0], Key("a", 1, 64): [3.0], Key("b", 1, 64): [2.0], Key("a", 2, 64): [1.0]}
    assert timing.fastest(times, ["a"], 1) == Key("a", 1, 64)
    assert timing.fastest(times, ["a", "b"], 1) == Key("b", 1, 64)
    assert timing.fastest(times, ["a"], 2) == Key("a", 2, 64)
    assert timing.fastest(times, ["c"], 1) is None
