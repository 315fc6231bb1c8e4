"""The record of one run of the training benchmark as JSON: times per epoch, races to a score, ratios."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnnlib.benchmark import machine, timing
from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.timing import DIGITS, MICROSECONDS, Key, Times
from bnnlib.benchmark.training import baseline_loop, contest
from bnnlib.benchmark.training.contest import BASELINE, OURS, Plan, Race
from bnnlib.config.params import Params
from bnnlib.config.spec import Training, Variant
from bnnlib.core import runtime
from bnnlib.core.errors import BnnError
from bnnlib.data import splits

TARGETS: dict[Variant, float] = {"full": 0.991, "binary": 0.978}  # macro-F1 that the baseline's repository reports
PACKAGES = ("numpy", "torch", "torchvision", "pillow", "numba")
WHAT = {
    OURS: "bnnlib.training.loop.fit by the recipe of params.yaml, its learning-rate schedule as long as epochs_planned",
    BASELINE: "a DataLoader without workers over PIL images with ToTensor and Normalize, Adam with "
    f"{baseline_loop.LEARNING_RATE}, halved when the validation loss stops falling, clipped gradients, "
    f"batches of {baseline_loop.BATCH}, plain torch layers; no early stopping",
}
NOTE = (
    "seconds_per_epoch: medians and quartiles of interleaved blocks of training, scaled to all training images, with "
    "a validation pass too short to matter; time_to_score: one training of each, validation passes counted on both "
    "sides; both loops run in one process, warmed up, on the same threads, each with its own topology"
)


class TrainingBenchmarkError(BnnError):
    """params.yaml asks for another training than the one that the baseline's scores belong to."""


@dataclass(frozen=True)
class Network:
    """What was measured of one network: ``times`` of both loops, ``races`` by loop."""

    cfg: Training
    times: Times
    races: Mapping[str, Race]


@dataclass(frozen=True)
class Found:
    """All that was measured in one run."""

    machine: Machine
    train_images: int
    validation_images: int
    round_images: int
    networks: Mapping[Variant, Network]


def run(data: Path, cfg: Params, plan: Plan, tell: Callable[[str], object]) -> Found:
    """Measure both networks; ``tell`` is called with each step. ``data`` holds train.npz and validation.npz."""
    trainings = _trainings(cfg)
    train, validation = (splits.read(data / f"{name}.npz") for name in ("train", "validation"))
    here = machine.describe()
    machine.warn_if_busy(here, tell)
    runtime.seed(cfg.seed)
    runtime.configure(cfg.runtime.threads, cfg.runtime.device)
    images = min(plan.images, len(train.labels))
    networks = {}
    for variant, each in trainings.items():
        tell(f"{variant}: {plan.rounds} rounds of {images:,} images")
        loops = contest.loops(each, len(train.labels))
        blocks = {name: contest.blocks(loop, train, validation, images) for name, loop in loops.items()}
        times = contest.speed(blocks, images, cfg.runtime.threads, plan.rounds)
        races = {}
        for name, epochs in ((OURS, plan.epochs), (BASELINE, plan.epochs_at_most)):
            scores = loops[name](train, validation, epochs)
            say = _prefixed(f"{variant}, {name}: ", tell)
            races[name] = contest.race(scores, TARGETS[variant], epochs, say)
        networks[variant] = Network(each, times, races)
    return Found(here, len(train.labels), len(validation.labels), images, networks)


def to_json(found: Found, plan: Plan, date: datetime.date) -> dict[str, Any]:
    """The record as JSON values."""
    some = next(iter(found.networks.values())).cfg
    return {
        **machine.conditions(found.machine, PACKAGES, date),
        "device": some.runtime.device,
        "threads": some.runtime.threads,
        "seed": some.seed,
        "images": {"train": found.train_images, "validation": found.validation_images},
        "plan": {**asdict(plan), "images": found.round_images},
        "loops": WHAT,
        "note": NOTE,
        "networks": {variant: _network(variant, each, found) for variant, each in found.networks.items()},
    }


def _trainings(cfg: Params) -> dict[Variant, Training]:
    """The trainings of both networks, if the baseline's scores belong to them."""
    for name, value, wanted in (("data.name", cfg.data.name, "mnist"), ("model.bits", cfg.model.bits, 1)):
        if value != wanted:
            raise TrainingBenchmarkError(f"{name}: {value}, but the baseline's scores are for {wanted}; set it to that")
    return {variant: cfg.training(variant) for variant in TARGETS}


def _prefixed(prefix: str, tell: Callable[[str], object]) -> Callable[[str], object]:
    return lambda line: tell(f"{prefix}{line}")


def _network(variant: Variant, network: Network, found: Found) -> dict[str, Any]:
    keys = {key.name: key for key in network.times}
    epochs = timing.ratio(network.times[keys[BASELINE]], network.times[keys[OURS]])
    return {
        "bits": network.cfg.bits,
        "batch_size": {OURS: network.cfg.recipe.batch_size, BASELINE: baseline_loop.BATCH},
        "target": TARGETS[variant],
        "loops": {name: _loop(network, keys[name], found.train_images) for name in (OURS, BASELINE)},
        "epoch_ratio": timing.rounded(epochs),
        "score_ratio": _score_ratio(network.races),
    }


def _loop(network: Network, key: Key, train_images: int) -> dict[str, Any]:
    us_per_image = timing.spread(network.times[key])
    topology = network.cfg.topology if key.name == OURS else baseline_loop.TOPOLOGY
    race = network.races[key.name]
    return {
        "topology": topology.model_dump(mode="json"),
        "seconds_per_epoch": timing.rounded(us_per_image, train_images / MICROSECONDS),
        "images_per_s": round(MICROSECONDS / us_per_image.median, 1),
        "time_to_score": {
            "reached": race.reached,
            "epochs": len(race.macro_f1),
            "epochs_planned": race.epochs_planned,
            "seconds": round(race.seconds, 1),
            "macro_f1": [round(score, 4) for score in race.macro_f1],
        },
    }


def _score_ratio(races: Mapping[str, Race]) -> dict[str, Any]:
    """How many times faster our loop reaches the score; a lower bound if the baseline did not reach it."""
    ours, baseline = races[OURS], races[BASELINE]
    if not ours.reached:
        return {"value": None, "lower_bound": False}
    return {"value": round(baseline.seconds / ours.seconds, DIGITS), "lower_bound": not baseline.reached}
