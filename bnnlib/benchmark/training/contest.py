"""Train with our loop and with the baseline's, side by side: time per epoch, and time to a score.

Both are generators that yield the validation scores after each epoch, so one stopwatch times both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bnnlib.benchmark import timing
from bnnlib.benchmark.timing import Clock, Effort, Entry, Key
from bnnlib.benchmark.training import baseline_loop
from bnnlib.config.spec import Training
from bnnlib.data import splits
from bnnlib.data.splits import Split
from bnnlib.scoring.metrics import Scores
from bnnlib.training import loop

# (training images, validation images, epochs) -> the validation scores of each epoch, which is trained on demand.
Loop = Callable[[Split, Split, int], Iterator[Scores]]

OURS, BASELINE = "ours", "baseline"
VALIDATION_IMAGES = 100  # few, because a full pass would take a good part of a timed block


@dataclass(frozen=True)
class Plan:
    """How much to train. In each of the timed ``rounds`` both loops train once on ``images`` training images.

    ``epochs``: of our loop in the race, the length of its schedule; ``epochs_at_most``: of the baseline.
    """

    rounds: int = 7
    images: int = 4_800
    epochs: int = 2
    epochs_at_most: int = 60


@dataclass(frozen=True)
class Race:
    """A training up to a score: whether it reached it, and the seconds, including validation.

    ``macro_f1``: on validation, after each epoch; ``epochs_planned``: the largest number of epochs.
    """

    reached: bool
    seconds: float
    macro_f1: list[float]
    epochs_planned: int


def loops(cfg: Training, train_images: int) -> dict[str, Loop]:
    """Our loop with its recipe except the number of epochs, and the baseline's for the same bit width.

    ``train_images``: the full number; on fewer, ours re-estimates batch norm on proportionally fewer images.
    """

    def ours(train: Split, validation: Split, epochs: int) -> Iterator[Scores]:
        norm_images = cfg.norm_images
        if norm_images is not None:
            norm_images = max(2, norm_images * len(train.labels) // train_images)  # batch norm needs two
        recipe = cfg.recipe.model_copy(update={"epochs": epochs})
        changed = cfg.model_copy(update={"recipe": recipe, "norm_images": norm_images})
        for epoch in loop.fit(train, validation, changed):
            yield epoch.validation

    def baseline(train: Split, validation: Split, epochs: int) -> Iterator[Scores]:
        return baseline_loop.fit(
            train, validation, binary=cfg.bits == 1, epochs=epochs, device=cfg.runtime.device, seed=cfg.seed
        )

    return {OURS: ours, BASELINE: baseline}


def speed(
    contestants: Mapping[str, Callable[[int], Iterator[object]]],
    images: int,
    threads: int,
    rounds: int,
    clock: Clock = time.perf_counter,
) -> dict[Key, list[float]]:
    """Time trainings alternately, block by block, in microseconds per image.

    ``contestants``: number of blocks -> an iterator that trains on ``images`` images at each step.
    """
    # `measure` makes two calls to warm up, then two per round, of which it times the second.
    started = {name: begin(2 + 2 * rounds) for name, begin in contestants.items()}
    entries = [Entry(Key(name, threads, images), partial(next, blocks)) for name, blocks in started.items()]
    return timing.measure(entries, Effort(rounds, settle_s=0.0, sample_s=0.0), clock)


def blocks(loop: Loop, train: Split, validation: Split, images: int) -> Callable[[int], Iterator[Scores]]:
    """A loop for `speed`: each block is an epoch over the first images, with a validation pass too short to matter."""
    return partial(loop, splits.limited(train, images), splits.limited(validation, VALIDATION_IMAGES))


def race(
    scores: Iterator[Scores],
    target: float,
    epochs: int,
    tell: Callable[[str], object],
    clock: Clock = time.perf_counter,
) -> Race:
    """Train until validation macro-F1 reaches the target, or all ``epochs`` are done."""
    found: list[float] = []
    start = clock()
    seconds = 0.0
    for each in scores:
        seconds = clock() - start
        found.append(each.macro_f1)
        tell(f"epoch {len(found)}/{epochs}, validation macro-F1 {each.macro_f1:.4f} after {seconds:.1f} s")
        if each.macro_f1 >= target:
            return Race(True, seconds, found, epochs)
    return Race(False, seconds, found, epochs)
