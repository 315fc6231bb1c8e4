"""Every kind of error in the parameters is named, and all of them at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.parameters import GOOD, MISSING, changed, errors
from support.paths import ROOT

from bnnlib.config import params


def test_the_committed_file_loads() -> None:
    loaded = params.load(ROOT / "params.yaml")
    assert loaded.training("full").bits == 16
    assert loaded.training("binary").bits == loaded.model.bits


def test_the_good_parameters_are_good() -> None:
    assert params.parse(GOOD, "params.yaml").model_dump() == GOOD


THREADS = "a whole number from 1 to 256"
RATE = "a number above 0 to 1"
LIMIT = "a whole number from 200 to 60000, or null"
TEXT = " (this is text: write the number without quotes)"
RECIPE = "epochs, batch_size, augmentation, optimizer"
NORM_IMAGES = "a whole number from 100 to 60000, or null"
ONE_ERROR: list[tuple[str, Any, str]] = [
    ("full.epoch", 3, "full.epoch: unknown parameter; did you mean epochs?"),
    ("train.zzz", 3, "train.zzz: unknown parameter; known here: norm_images"),
    ("thresholds.mnist.full.los", 3, "thresholds.mnist.full.los: unknown parameter; did you mean loss?"),
    ("thresholds.mnist.full.loss", 0, "thresholds.mnist.full.loss: 0 is not allowed; allowed: a number above 0 to 100"),
    ("thresholds.mnist.all", 1, "thresholds.mnist.all: unknown parameter; known here: full, binary"),
    ("thresholds.kmnist", 0.9, "thresholds.kmnist: 0.9 is not allowed; allowed: a section with full, binary, or null"),
    ("thresholds.kmnist", MISSING, "thresholds.kmnist: missing; allowed: a section with full, binary, or null"),
    ("thresholds.mnst", None, "thresholds.mnst: unknown parameter; did you mean mnist?"),
    ("full.latent_clip", 1.0, f"full.latent_clip: unknown parameter; known here: {RECIPE}"),
    ("train.norm_images", 99, f"train.norm_images: 99 is not allowed; allowed: {NORM_IMAGES}"),
    ("train.norm_images", 60_001, f"train.norm_images: 60001 is not allowed; allowed: {NORM_IMAGES}"),
    (
        "multibit.augmentation.kmnist.shift",
        9,
        "multibit.augmentation.kmnist.shift: 9 is not allowed; allowed: a whole number from 0 to 8",
    ),
    ("multibit", MISSING, f"multibit: missing; allowed: a section with {RECIPE}, quantizer"),
    ("runtimes", {}, "runtimes: unknown parameter; did you mean runtime?"),
    ("seed", MISSING, "seed: missing; allowed: a whole number from 0 below 4294967296"),
    ("data.limit", MISSING, f"data.limit: missing; allowed: {LIMIT}"),
    ("train", MISSING, "train: missing; allowed: a section with norm_images"),
    ("train", None, "train: None is not allowed; allowed: a section with norm_images"),
    ("train", [3, 100], "train: [3, 100] is not allowed; allowed: a section with norm_images"),
    ("seed", -1, "seed: -1 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", 2**32, "seed: 4294967296 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", True, "seed: True is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", 1.0, "seed: 1.0 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("runtime.threads", 0, f"runtime.threads: 0 is not allowed; allowed: {THREADS}"),
    ("runtime.threads", 257, f"runtime.threads: 257 is not allowed; allowed: {THREADS}"),
    ("runtime.threads", None, f"runtime.threads: None is not allowed; allowed: {THREADS}"),
    ("runtime.threads", "2", f"runtime.threads: '2' is not allowed; allowed: {THREADS}{TEXT}"),
    ("runtime.threads", "two", f"runtime.threads: 'two' is not allowed; allowed: {THREADS}"),
    ("runtime.device", "gpu", "runtime.device: 'gpu' is not allowed; allowed: cpu, cuda"),
    ("data.name", "fashion", "data.name: 'fashion' is not allowed; allowed: mnist, fashion_mnist, kmnist"),
    ("data.limit", 199, f"data.limit: 199 is not allowed; allowed: {LIMIT}"),
    ("data.limit", "500", f"data.limit: '500' is not allowed; allowed: {LIMIT}{TEXT}"),
    ("model.bits", 3, "model.bits: 3 is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("model.bits", "banana", "model.bits: 'banana' is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("model.bits", True, "model.bits: True is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("full.optimizer.adam_rate", 0, f"full.optimizer.adam_rate: 0 is not allowed; allowed: {RATE}"),
    ("full.optimizer.adam_rate", 1.1, f"full.optimizer.adam_rate: 1.1 is not allowed; allowed: {RATE}"),
    ("full.optimizer.adam_rate", math.nan, f"full.optimizer.adam_rate: nan is not allowed; allowed: {RATE}"),
    ("full.optimizer.adam_rate", math.inf, f"full.optimizer.adam_rate: inf is not allowed; allowed: {RATE}"),
    ("full.optimizer.adam_rate", True, f"full.optimizer.adam_rate: True is not allowed; allowed: {RATE}"),
    ("full.optimizer.adam_rate", "1e-06", f"full.optimizer.adam_rate: '1e-06' is not allowed; allowed: {RATE}{TEXT}"),
    (
        "full.augmentation.mnist.shift",
        9,
        "full.augmentation.mnist.shift: 9 is not allowed; allowed: a whole number from 0 to 8",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), ONE_ERROR)
def test_one_error_is_named(name: str, value: Any, message: str) -> None:
    assert errors(changed((name, value))) == [message]


@pytest.mark.parametrize("name", ["none", "int", "constrained-int", "train.none", "train.int"])
def test_an_unknown_parameter_may_have_any_name(name: str) -> None:
    [error] = errors(changed((name, 1)))
    assert error.startswith(f"{name}: unknown parameter")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("runtime.threads", 256),
        ("data.limit", 200),
        ("full.optimizer.adam_rate", 1),  # a whole number is a number
        ("full.optimizer.weight_decay", 0),
        ("thresholds.mnist.full.macro_f1", 1.0),
        ("model.bits", 32),
    ],
)
def test_the_bounds_themselves_are_allowed(name: str, value: float) -> None:
    assert params.flatten(params.parse(changed((name, value)), "params.yaml"))[name] == value


def test_all_errors_are_listed_at_once() -> None:
    content = changed(
        ("seed", "x"),
        ("runtime.threads", 0),
        ("data.limit", MISSING),
        ("full.optimizer.adam_rate", math.nan),
        ("binary.shft", 1),
        ("thresholds", []),
        ("extra", 1),
    )
    names = [error.partition(":")[0] for error in errors(content)]
    wanted = ["seed", "runtime.threads", "data.limit", "full.optimizer.adam_rate", "binary.shft", "thresholds", "extra"]
    assert sorted(names) == sorted(wanted)


@pytest.mark.parametrize("content", [None, [], 3, "seed"])
def test_a_file_that_is_not_a_mapping_is_refused(content: object) -> None:
    assert errors(content) == [f"the file: {content!r} is not allowed; allowed: a mapping of sections"]


def test_flatten_joins_names_with_dots() -> None:
    assert params.flatten({"a": {"b": {"c": 1}, "d": None}, "e": 2}) == {"a.b.c": 1, "a.d": None, "e": 2}
    flat = params.flatten(params.parse(GOOD, "x").train, "train.")
    assert flat == {"train.norm_images": None}
