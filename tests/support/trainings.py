"""A made-up training benchmark with ratios that are easy to check by hand."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from support.paths import ROOT

from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.timing import Key
from bnnlib.benchmark.training import record
from bnnlib.benchmark.training.contest import BASELINE, OURS, Plan, Race
from bnnlib.benchmark.training.record import Found, Network
from bnnlib.config import params

PARAMS = params.load(ROOT / "params.yaml")
PLAN = Plan(rounds=3, images=1_000, epochs=4, epochs_at_most=9)
# Microseconds per image.
TIMES = {
    Key(OURS, 2, 1_000): [200.0, 100.0, 400.0],
    Key(BASELINE, 2, 1_000): [1_000.0, 1_000.0, 1_000.0],
}
THERE = Race(True, 20.0, [0.97, 0.99234], 4)
LATER = Race(True, 350.0, [0.9, 0.95, 0.992], 9)
NEVER = Race(False, 500.0, [0.9] * 9, 9)


def found() -> Found:
    """The full network reaches its score with both loops, the binary one only with ours."""
    races = {"full": {OURS: THERE, BASELINE: LATER}, "binary": {OURS: THERE, BASELINE: NEVER}}
    return Found(
        machine=Machine("A Processor", "x86_64", "Linux", 2, ["avx2", "avx512f"], 16.0, 0.1),
        train_images=48_000,
        validation_images=12_000,
        round_images=1_000,
        networks={
            "full": Network(PARAMS.training("full"), TIMES, races["full"]),
            "binary": Network(PARAMS.training("binary"), TIMES, races["binary"]),
        },
    )


def found_that_fell_short() -> Found:
    """The same, except that our loop does not reach the score of the full network."""
    whole = found()
    network = whole.networks["full"]
    races = {**network.races, OURS: Race(False, 40.0, [0.98] * 4, 4)}
    short = dataclasses.replace(network, races=races)
    return dataclasses.replace(whole, networks={**whole.networks, "full": short})


def as_json(whole: Found | None = None) -> dict[str, Any]:
    """The record of this run, by default `found`."""
    return record.to_json(found() if whole is None else whole, PLAN, datetime.date(2026, 1, 2))
