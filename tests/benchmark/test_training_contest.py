"""Races and timed blocks with a simulated clock; what each loop trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from support import trainings
from torch import nn

from bnnlib.benchmark.timing import Key
from bnnlib.benchmark.training import baseline_loop, contest
from bnnlib.benchmark.training.contest import BASELINE, OURS, Race
from bnnlib.config.spec import Training
from bnnlib.data.splits import Split
from bnnlib.scoring.metrics import Scores
from bnnlib.training import loop


class World:
    """Trainings that take a known time per epoch. Reading the clock takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.begun: dict[str, int] = {}
        self.done: list[str] = []

    def scores(self, seconds: float, *macro_f1: float) -> Iterator[Scores]:
        for each in macro_f1:
            self.now += seconds
            yield Scores(each, 0.1, each)

    def blocks(self, name: str, seconds: float) -> Callable[[int], Iterator[None]]:
        def begin(count: int) -> Iterator[None]:
            self.begun[name] = count
            for _ in range(count):
                self.now += seconds
                self.done.append(name)
                yield

        return begin

    def clock(self) -> float:
        return self.now


def test_a_race_ends_after_the_first_epoch_that_reaches_the_score() -> None:
    world = World()
    told: list[str] = []
    world.now = 100.0
    scores = world.scores(2.5, 0.5, 0.977, 0.978, 0.99)
    assert contest.race(scores, 0.978, 4, told.append, world.clock) == Race(True, 7.5, [0.5, 0.977, 0.978], 4)
    assert told[-1] == "epoch 3/4, validation macro-F1 0.9780 after 7.5 s"
    assert next(scores).macro_f1 == 0.99  # an epoch that was not trained


def test_a_race_without_the_score_takes_all_its_epochs() -> None:
    world = World()
    found = contest.race(world.scores(2.0, 0.5, 0.6), 0.978, 2, print, world.clock)
    assert found == Race(False, 4.0, [0.5, 0.6], 2)


def test_blocks_are_timed_per_image_and_all_are_used() -> None:
    world = World()
    contestants = {"a": world.blocks("a", 0.5), "b": world.blocks("b", 2.0)}
    found = contest.speed(contestants, 1_000, 2, rounds=3, clock=world.clock)
    assert found == {Key("a", 2, 1_000): [500.0] * 3, Key("b", 2, 1_000): [2_000.0] * 3}
    assert world.begun == {name: world.done.count(name) for name in "ab"}
    assert world.done.count("a") == 2 + 2 * 3  # warm-up, then two for each round


def few(count: int) -> Split:
    generator = np.random.default_rng(0)
    return Split(generator.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10)


def test_our_loop_follows_the_recipe_with_another_number_of_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Training] = []

    def fit(train: Split, validation: Split, cfg: Training) -> Iterator[loop.Epoch]:
        given.append(cfg)
        yield from ()

    monkeypatch.setattr(loop, "fit", fit)
    cfg = trainings.PARAMS.training("binary")
    ours = contest.loops(cfg, 40)[OURS]
    for train in (few(40), few(10)):
        assert list(ours(train, few(10), 3)) == []
    whole, quarter = given
    assert whole == cfg.model_copy(update={"recipe": cfg.recipe.model_copy(update={"epochs": 3})})
    assert cfg.norm_images is not None
    assert quarter.norm_images == cfg.norm_images // 4


def test_the_baseline_trains_the_same_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    network = baseline_loop.network
    built: list[bool] = []

    def note(*, binary: bool) -> nn.Sequential:
        built.append(binary)
        return network(binary=binary)

    monkeypatch.setattr(baseline_loop, "network", note)
    threads = torch.get_num_threads()
    for variant in ("full", "binary"):
        baseline = contest.loops(trainings.PARAMS.training(variant), 40)[BASELINE]
        [scores] = baseline(few(40), few(20), 1)
        assert 0 <= scores.macro_f1 <= 1
    assert built == [False, True]
    assert torch.get_num_threads() == threads


def test_blocks_are_epochs_over_the_first_images() -> None:
    given = []

    def loop(train: Split, validation: Split, epochs: int) -> Iterator[Scores]:
        given.append((len(train.images), len(train.labels), len(validation.labels), epochs))
        yield from ()

    list(contest.blocks(loop, few(300), few(150), 200)(7))
    assert given == [(200, 200, contest.VALIDATION_IMAGES, 7)]
