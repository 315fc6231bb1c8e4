"""The record of one run of the prediction benchmark as JSON: machine, contestants, times, ratios."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnnlib.benchmark import isolated, machine, timing
from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.prediction import contest, contestants
from bnnlib.benchmark.prediction.contestants import ONE_BIT, TORCH, WHAT, Check
from bnnlib.benchmark.timing import Effort, Key, Times

PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "numba", "llvmlite")
ISA = "AVX2"  # what `isolated.MASK` leaves
IMAGES = 1024  # validation images by default
ONE_CORE = "this process may use one core only"


@dataclass(frozen=True)
class Ratio:
    """How many times better ours is: ratio of the medians, and quartiles of the ratios of the rounds.

    ``of``: the peer's key and ours. Where nothing was measured all is None except ``reason``.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    of: tuple[Key, Key] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Found:
    """All that was measured in one run."""

    machine: Machine
    checks: Mapping[str, Check]
    alone: Times  # the fast engine before all others, on one thread and on two
    times: Times
    missing: Mapping[str, str]  # contestant -> why it did not take part
    masked: Mapping[str, Any] | str  # what `isolated.measure` returns, or why it is missing


def run(networks: Path, data: Path, images: int, effort: Effort, tell: Callable[[str], object]) -> Found:
    """Measure everything; ``tell`` is called with each step and with what is missing."""
    here = machine.describe()
    inputs = contest.load(networks, data, images)
    counts = sorted({1, here.cores})
    folded = contestants.fold(inputs.full)
    peers, missing = contestants.of_onnxruntime(folded, inputs.calibration, counts)
    field = [each for threads in counts for each in contestants.of_torch(folded, threads)]
    field += [*peers, *contestants.of_ours(inputs.one_bit, counts)]
    machine.warn_if_busy(here, tell)
    tell(f"{len(field)} contestants; rounds: {effort.rounds}; threads: {', '.join(map(str, counts))}")
    alone = contest.alone(inputs, sorted({1, min(2, here.cores)}), effort)
    checks, times = contest.check_and_time(inputs, field, effort)
    for reason in dict.fromkeys(missing.values()):
        tell(f"warning: {reason}")
    masked: Mapping[str, Any] | str = "the processor has no AVX2"
    if "avx2" in here.isa:
        tell("torch and the fast engine without AVX-512")
        masked = isolated.run(networks, data, images, effort)
    return Found(here, checks, alone, times, missing, masked)


def ratios(found: Found) -> dict[str, Ratio]:
    """How many times faster the fast engine is than each peer on one thread, each at its best batch size.

    "torch_fp32_latency": the same for one image at a time. "two_cores": the fast engine on two threads instead of one.
    """
    times, ours = found.times, timing.fastest(found.times, ["fast"], 1)
    single = {key: samples for key, samples in times.items() if key.batch == 1}
    peers = {name: timing.fastest(times, names, 1) for name, names in _peers().items()}
    compared = {name: _ratio(times, peer, ours, found.missing.get(name)) for name, peer in peers.items()}
    latency = timing.fastest(single, TORCH, 1), timing.fastest(single, ["fast"], 1)
    return {
        **compared,
        "torch_fp32_latency": _ratio(times, *latency, None),
        "two_cores": _ratio(
            found.alone, timing.fastest(found.alone, ["fast"], 1), timing.fastest(found.alone, ["fast"], 2), ONE_CORE
        ),
    }


def to_json(found: Found, effort: Effort, date: datetime.date) -> dict[str, Any]:
    """The record as JSON values. Times are microseconds per image."""
    all_ratios = ratios(found)
    return {
        **machine.conditions(found.machine, PACKAGES, date),
        "effort": asdict(effort),
        "ratios": _values(all_ratios),
        "ratio_details": _details(all_ratios),
        "contestants": {name: _contestant(name, found) for name in WHAT},
        "alone": _times(found.alone, "fast"),
        "masked": _masked(found.masked),
    }


def _peers() -> dict[str, Sequence[str]]:
    """Names of the ratios -> the contestants of which the fastest counts."""
    others = {name: [name] for name in WHAT if name not in (*TORCH, *ONE_BIT)}
    return {TORCH[0]: TORCH, **others}


def _ratio(times: Times, peer: Key | None, ours: Key | None, reason: str | None) -> Ratio:
    if peer is None or ours is None:
        return Ratio(reason=reason)
    each = timing.rounded(timing.ratio(times[peer], times[ours]))
    return Ratio(each["median"], each["low"], each["high"], (peer, ours))


def _values(found: Mapping[str, Ratio]) -> dict[str, float | None]:
    return {name: ratio.value for name, ratio in found.items()}


def _details(found: Mapping[str, Ratio]) -> dict[str, Any]:
    return {
        name: {
            "low": ratio.low,
            "high": ratio.high,
            "peer": None if ratio.of is None else ratio.of[0]._asdict(),
            "ours": None if ratio.of is None else ratio.of[1]._asdict(),
            "reason": ratio.reason,
        }
        for name, ratio in found.items()
    }


def _times(times: Times, name: str) -> list[dict[str, Any]]:
    return [
        {"threads": key.threads, "batch": key.batch, "us_per_image": timing.rounded(timing.spread(samples))}
        for key, samples in times.items()
        if key.name == name
    ]


def _contestant(name: str, found: Found) -> dict[str, Any]:
    check = found.checks.get(name)
    return {
        "what": WHAT[name],
        "missing": found.missing.get(name),
        "accuracy": None if check is None else check.accuracy,
        "agreement": None if check is None else check.agreement,
        "largest_batch": contestants.LARGEST_BATCH.get(name),
        "times": _times(found.times, name),
    }


def _masked(found: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(found, str):
        ratio = {TORCH[0]: Ratio(reason=found)}
        return {"isa": ISA, "ratios": _values(ratio), "ratio_details": _details(ratio), "reason": found}
    times = {Key(*key): samples for key, samples in found["times"]}
    ratio = {TORCH[0]: _ratio(times, timing.fastest(times, TORCH, 1), timing.fastest(times, ["fast"], 1), None)}
    names = dict.fromkeys(key.name for key in times)
    return {
        "isa": ISA,
        "torch_capability": found["torch_capability"],
        "environment": isolated.MASK,
        "ratios": _values(ratio),
        "ratio_details": _details(ratio),
        "contestants": {name: {**found["checks"][name], "times": _times(times, name)} for name in names},
        "reason": None,
    }
