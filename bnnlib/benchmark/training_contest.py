"""Train by our loop and by the reference's, side by side: the time of an epoch, and the time to a score.

Both are generators that yield the validation scores after each epoch, so that one stopwatch times either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from bnnlib import mnist, models, summary, training
from bnnlib.benchmark import reference_loop, timing
from bnnlib.benchmark.timing import Clock, Effort, Entry, Key
from bnnlib.metrics import Scores
from bnnlib.mnist import Split
from bnnlib.models import ConvNet
from bnnlib.params import FULL_BITS, Quantization, Training

# (training images, validation images, epochs) -> the validation scores of each epoch, trained when they are asked for.
Loop = Callable[[Split, Split, int], Iterator[Scores]]

OURS, REFERENCE, PRODUCT = "ours", "reference", "matrix product"
PRODUCT_SIDE = 2048  # of the square float32 matrices whose product stands for the machine's rate
VALIDATION_IMAGES = 100  # after a timed block of training, of which a full pass would take a good part


@dataclass(frozen=True)
class Plan:
    """How much to train. ``rounds`` in which each loop trains once on ``images`` training images, timed.

    ``epochs``: length of our learning-rate schedule in the race; ``epochs_at_most``: when the reference gives up.
    """

    rounds: int = 7
    images: int = 4_800
    epochs: int = 4
    epochs_at_most: int = 60


@dataclass(frozen=True)
class Race:
    """A training up to its score: whether it got there, in how many seconds with the validation passes.

    ``macro_f1``: on validation, after each epoch; ``epochs_planned``: no more than so many.
    """

    reached: bool
    seconds: float
    macro_f1: list[float]
    epochs_planned: int


def loops(cfg: Training, train_images: int) -> dict[str, Loop]:
    """Our loop by its recipe, but for the number of epochs, and the reference's for the same bit width.

    On fewer than ``train_images`` images, all that there are, ours re-estimates batch norm on proportionally fewer.
    """

    def ours(train: Split, validation: Split, epochs: int) -> Iterator[Scores]:
        norm_images = cfg.train.norm_images
        if norm_images is not None:
            norm_images = max(2, norm_images * len(train.labels) // train_images)  # batch norm wants two
        changes = {"epochs": epochs, "norm_images": norm_images}
        changed = cfg.model_copy(update={"train": cfg.train.model_copy(update=changes)})
        for epoch in training.fit(train, validation, changed):
            yield epoch.validation

    def reference(train: Split, validation: Split, epochs: int) -> Iterator[Scores]:
        return reference_loop.fit(
            train, validation, binary=cfg.bits == 1, epochs=epochs, device=cfg.runtime.device, seed=cfg.seed
        )

    return {OURS: ours, REFERENCE: reference}


def speed(
    contestants: Mapping[str, Callable[[int], Iterator[object]]],
    product: Callable[[], object],
    images: int,
    threads: int,
    rounds: int,
    clock: Clock = time.perf_counter,
) -> dict[Key, list[float]]:
    """Time trainings in turn, block by block, and the matrix product among them.

    ``contestants``: given a number of blocks, an iterator that trains on ``images`` images at each step. Microseconds
    an image (a call, for the product).
    """
    # `measure` calls twice to warm up, and in each round once before the call that it times.
    started = {name: begin(2 + 2 * rounds) for name, begin in contestants.items()}
    entries = [Entry(Key(name, threads, images), partial(next, blocks)) for name, blocks in started.items()]
    entries.append(Entry(Key(PRODUCT, threads, 1), product))
    return timing.measure(entries, Effort(rounds, settle_s=0.0, sample_s=0.0), clock)


def blocks(loop: Loop, train: Split, validation: Split, images: int) -> Callable[[int], Iterator[Scores]]:
    """A loop for `speed`: each block is an epoch over the first images, with a validation pass too short to matter."""
    return partial(loop, mnist.limited(train, images), mnist.limited(validation, VALIDATION_IMAGES))


def matrix_product(device: str) -> Callable[[], None]:
    """A product of two float32 matrices of `PRODUCT_SIDE`, done when the call returns."""
    a, b = torch.rand(2, PRODUCT_SIDE, PRODUCT_SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    out = torch.empty_like(a)

    def run() -> None:
        torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def race(
    scores: Iterator[Scores],
    target: float,
    epochs: int,
    tell: Callable[[str], object],
    clock: Clock = time.perf_counter,
) -> Race:
    """Train until validation macro-F1 reaches the target, or the scores of all ``epochs`` are there."""
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


def step_macs() -> int:
    """Multiply-adds that training takes for an image, by the plain formula: forward, and backward twice as many.

    Backward finds the gradients of each layer's weights and of its input, but the first layer's input needs none.
    """
    counted = summary.summarize("", models.publish(ConvNet(Quantization(bits=FULL_BITS)), epoch=0), None)
    first = counted.layers[0]
    return 3 * counted.macs - first.binary_macs - first.other_macs
