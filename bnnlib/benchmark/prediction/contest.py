"""Let contestants predict, then time them: the fast engine alone, all against one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bnnlib.benchmark.prediction import contestants
from bnnlib.benchmark.prediction.contestants import Check, Contestant
from bnnlib.benchmark.timing import Effort, Entry, Key, Times, measure
from bnnlib.data import splits
from bnnlib.nn import convnet, weights
from bnnlib.nn.convnet import Published
from bnnlib.packed import engines, file, reference
from bnnlib.packed.model import PackedModel
from bnnlib.scoring import evaluation

CALIBRATION = 1024  # training images that give the ranges of int8
COPIES = 8  # of the images, for many at a time


@dataclass(frozen=True)
class Inputs:
    """Both networks; ``data``: validation images, to predict and to time with; ``calibration``: training images."""

    full: Published
    one_bit: PackedModel
    data: splits.Split
    calibration: NDArray[np.uint8]


def load(networks: Path, data: Path, images: int) -> Inputs:
    """Read both networks, full.safetensors and binary.bnn, the first ``images`` of validation.npz, and train.npz."""
    return Inputs(
        weights.read(networks / "full.safetensors"),
        file.read(networks / "binary.bnn"),
        splits.limited(splits.read(data / "validation.npz"), images),
        splits.read(data / "train.npz").images[:CALIBRATION],
    )


def alone(inputs: Inputs, thread_counts: Sequence[int], effort: Effort) -> Times:
    """Time the fast engine on each number of threads with many images at a time, before any other contestant.

    Threads of the others go on spinning for a while after their turn, on the cores that this measurement is about.
    """
    images = np.tile(inputs.data.images, (COPIES, 1, 1))
    found = {Key("fast", threads, len(images)): engines.fast(inputs.one_bit, threads) for threads in thread_counts}
    return measure([Entry(key, partial(engine.logits, images)) for key, engine in found.items()], effort)


def hold(inputs: Inputs, field: Sequence[Contestant], effort: Effort) -> tuple[dict[str, Check], Times]:
    """Check the contestants' predictions, `ContestantError` for a bad one, then time them. By name, and by key."""
    images = inputs.data.images
    full = evaluation.logits(convnet.restore(inputs.full), torch.from_numpy(images)).numpy().argmax(axis=1)
    one_bit = reference.logits(inputs.one_bit, images).argmax(axis=1)
    threads = torch.get_num_threads()
    try:
        checks = {each.name: contestants.check(each, inputs.data, full, one_bit) for each in field}
        return checks, measure(contestants.entries(field, images), effort)
    finally:
        torch.set_num_threads(threads)
