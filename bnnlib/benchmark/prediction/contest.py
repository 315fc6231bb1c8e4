"""Check the predictions of the contestants, then time them together; the fast engine is timed alone as well."""

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
from bnnlib.nn import weights
from bnnlib.nn.published import Published, restore
from bnnlib.packed import engines, file, reference
from bnnlib.packed.model import PackedModel
from bnnlib.scoring import evaluation

CALIBRATION = 1024  # training images from which the ranges of int8 are set
COPIES = 8  # of the images, to time the fast engine on a large batch


@dataclass(frozen=True)
class Inputs:
    """Both networks; ``data``: validation images, to check and to time with; ``calibration``: training images."""

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
    """Time the fast engine on each number of threads, on one large batch, before any other contestant.

    After a call, the threads of the others spin for a while, on the cores that this measurement needs.
    """
    images = np.tile(inputs.data.images, (COPIES, 1, 1))
    found = {Key("fast", threads, len(images)): engines.fast(inputs.one_bit, threads) for threads in thread_counts}
    return measure([Entry(key, partial(engine.logits, images)) for key, engine in found.items()], effort)


def check_and_time(inputs: Inputs, field: Sequence[Contestant], effort: Effort) -> tuple[dict[str, Check], Times]:
    """Check all predictions, then time: checks by name, times by key. `ContestantError` if a check fails."""
    images = inputs.data.images
    full = evaluation.logits(restore(inputs.full), torch.from_numpy(images)).numpy().argmax(axis=1)
    one_bit = reference.logits(inputs.one_bit, images).argmax(axis=1)
    threads = torch.get_num_threads()
    try:
        checks = {each.name: contestants.check(each, inputs.data, full, one_bit) for each in field}
        return checks, measure(contestants.entries(field, images), effort)
    finally:
        torch.set_num_threads(threads)
