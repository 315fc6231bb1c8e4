"""A made-up prediction benchmark with ratios that are easy to check by hand, and one of the sweep's networks."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from functools import cache
from typing import Any

from support import topologies

from bnnlib.benchmark import sizes
from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.prediction import record
from bnnlib.benchmark.prediction.contestants import Check
from bnnlib.benchmark.prediction.record import Found
from bnnlib.benchmark.timing import Effort, Key

ROUNDS = 3
# On one thread, microseconds per image by batch size.
MEDIANS = {
    "torch_fp32": {1: 400.0, 64: 200.0},
    "torch_fp32_channels_last": {1: 300.0, 64: 180.0},
    "onnxruntime_fp32": {1: 150.0, 64: 130.0},
    "onnxruntime_int8": {1: 90.0, 64: 70.0},
    "reference": {1: 6000.0},
    "fast": {1: 20.0, 64: 10.0},
}
TWO_THREADS = {"torch_fp32": 150.0, "fast": 5.0}  # at batch 64
ALONE = {1: 9.0, 2: 5.0}  # threads -> microseconds per image
MASKED = {"torch_fp32": 240.0, "torch_fp32_channels_last": 300.0, "fast": 30.0}


@cache
def found() -> Found:
    """A run in which nothing was missing."""
    times = {Key(name, 1, batch): same(us) for name, each in MEDIANS.items() for batch, us in each.items()}
    times |= {Key(name, 2, 64): same(us) for name, us in TWO_THREADS.items()}
    return Found(
        machine=Machine("A Processor", "x86_64", "Linux", 2, ["avx2", "avx512_vpopcntdq"], 16.0, 0.1),
        checks={name: Check(0.98 if name in ("reference", "fast") else 0.99, 1.0) for name in MEDIANS},
        alone={Key("fast", threads, 512): same(us) for threads, us in ALONE.items()},
        times=times,
        missing={},
        masked={
            "torch_capability": "AVX2",
            "checks": {name: {"accuracy": 0.9, "agreement": 1.0} for name in MASKED},
            "times": [[[name, 1, 64], same(us)] for name, us in MASKED.items()],
        },
    )


def found_without_peers() -> Found:
    """The same on one core, without onnxruntime and without AVX2."""
    peers = ("onnxruntime_fp32", "onnxruntime_int8")
    whole = found()
    return dataclasses.replace(
        whole,
        machine=dataclasses.replace(whole.machine, cores=1),
        times={key: us for key, us in whole.times.items() if key.name not in peers and key.threads == 1},
        alone={key: us for key, us in whole.alone.items() if key.threads == 1},
        checks={name: check for name, check in whole.checks.items() if name not in peers},
        missing=dict.fromkeys(peers, "no onnxruntime"),
        masked="no AVX2",
    )


def same(value: float) -> list[float]:
    """Equal samples, one per round."""
    return [value] * ROUNDS


def as_json() -> dict[str, Any]:
    """The record of `found`."""
    return record.to_json(found(), Effort(ROUNDS), datetime.date(2026, 1, 2))


def as_json_without_peers() -> dict[str, Any]:
    """The record of `found_without_peers`."""
    return record.to_json(found_without_peers(), Effort(ROUNDS), datetime.date(2026, 1, 2))


# Microseconds per image of the topology `pooled`, by way and batch size.
SIZE_MEDIANS = {
    sizes.FAST: {64: 2.0, 256: 2.5},
    sizes.FLOAT32: {64: 40.0, 256: 30.0},
    sizes.INT8: {64: 20.0, 256: 25.0},
}


def sizes_found(*widths: int, ways: Sequence[str] = tuple(SIZE_MEDIANS), missing: str = "") -> sizes.Found:
    """Times of `pooled` at these widths; ``missing``: why the other ways were not measured."""
    shapes = {bits: topologies.PARAMS.topologies["pooled"].of("mnist", bits) for bits in widths}
    times = {Key(f"{way} pooled", 1, batch): same(us) for way in ways for batch, us in SIZE_MEDIANS[way].items()}
    networks = [sizes.Sized("pooled", bits, shape) for bits, shape in shapes.items() if shape is not None]
    return sizes.Found(found().machine, networks, times, {way: missing for way in SIZE_MEDIANS if way not in ways})


def sizes_as_json(*widths: int, **options: Any) -> dict[str, Any]:
    """The record of `sizes_found`, of 1, 4 and 8 bits where no widths are given."""
    return sizes.to_json(sizes_found(*(widths or (1, 4, 8)), **options), Effort(ROUNDS), datetime.date(2026, 1, 2))
