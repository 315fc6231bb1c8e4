"""The timing core with a clock of its own: who is called when, and what is made of the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bnnlib.benchmark import timing
from bnnlib.benchmark.timing import Effort, Entry, Key, Spread


class World:
    """Contestants that take a known time, and write down what happens. Reading the clock takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def entry(self, name: str, batch: int, *seconds: float) -> Entry:
        """Calls take these seconds, one after the other, the last one from then on."""
        waiting = itertools.chain(seconds[:-1], itertools.repeat(seconds[-1]))

        def run() -> None:
            self.now += next(waiting)
            self.log.append(name)

        return Entry(Key(name, 1, batch), run, lambda: self.log.append(f"prepare {name}"))

    def clock(self) -> float:
        return self.now


def test_microseconds_an_image() -> None:
    world = World()
    found = timing.measure([world.entry("a", 4, 0.5), world.entry("b", 1, 0.25)], Effort(3, 0.1, 1.0), world.clock)
    assert found == {("a", 1, 4): [125_000.0] * 3, ("b", 1, 1): [250_000.0] * 3}


def test_neither_warm_up_nor_settling_is_counted() -> None:
    # Warm-up: a first call of 9 s, a second of 0.5 s by which two fill a sample. Then 0.5 s to settle.
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


def test_all_have_their_turn_in_every_round_in_changing_order() -> None:
    world = World()
    timing.measure([world.entry(name, 1, 2.0) for name in "abcd"], Effort(6, 0.0, 1.0), world.clock)
    turns = [line.removeprefix("prepare ") for line in world.log if line.startswith("prepare ")][4:]
    rounds = ["".join(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert [sorted(each) for each in rounds] == [list("abcd")] * 6
    assert len(set(rounds)) > 1


def test_median_and_quartiles_by_hand() -> None:
    assert timing.spread([4.0, 1.0, 3.0, 2.0, 100.0]) == Spread(3.0, 2.0, 4.0)
    assert timing.spread([1.0, 2.0]) == Spread(1.5, 1.25, 1.75)
    assert timing.spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_quartiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).random(11).tolist()
    found = timing.spread(values)
    expected = np.percentile(values, [25, 50, 75])
    assert (found.low, found.median, found.high) == pytest.approx(expected.tolist(), rel=1e-15)


def test_a_ratio_is_that_of_the_medians_its_spread_that_of_the_rounds() -> None:
    # Rounds: 10/1, 20/4, 60/3 = 10, 5, 20, of which the quartiles are 7.5 and 15; medians 20 and 3.
    assert timing.ratio([10.0, 20.0, 60.0], [1.0, 4.0, 3.0]) == Spread(20 / 3, 7.5, 15.0)


def test_the_fastest_of_several_names_on_so_many_threads() -> None:
    times = {Key("a", 1, 1): [5.0], Key("a", 1, 64): [3.0], Key("b", 1, 64): [2.0], Key("a", 2, 64): [1.0]}
    assert timing.fastest(times, ["a"], 1) == Key("a", 1, 64)
    assert timing.fastest(times, ["a", "b"], 1) == Key("b", 1, 64)
    assert timing.fastest(times, ["a"], 2) == Key("a", 2, 64)
    assert timing.fastest(times, ["c"], 1) is None
