"""Time an image in every network of the sweep: 1 bit in the packed engine, the wider ones in onnxruntime.

Weights are random: the time does not depend on them, so nothing is trained.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bnnlib.benchmark import machine, timing
from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.prediction import contestants
from bnnlib.benchmark.prediction.contestants import ONNXRUNTIME, Contestant
from bnnlib.benchmark.prediction.record import PACKAGES
from bnnlib.benchmark.timing import Effort, Entry, Key, Times
from bnnlib.config.params import Params
from bnnlib.config.spec import FULL_BITS, Bits, Quantization
from bnnlib.config.topology import Topology
from bnnlib.core import runtime
from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import SIDE, WHITE
from bnnlib.export import pack
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import Published, publish, restore
from bnnlib.packed import reference
from bnnlib.scoring import evaluation
from bnnlib.sweeps import tables

FAST, FLOAT32, INT8 = "fast", *ONNXRUNTIME
INT8_BITS = 8  # the width that onnxruntime can compute with; at 2, 4 and 16 bits it takes float32
BATCHES = (64, 256)
CHECKED = 64  # images on which a contestant predicts like its network
AGREEMENT = 0.9  # least share of these in onnxruntime: with random weights, classes are often nearly level
SEED = 0
NOTE = (
    "one thread; networks of random weights, batch norm folded, on random images; a network has a time for each way to "
    f"compute it and each batch: {FAST}, {FLOAT32}, at {INT8_BITS} bits {INT8} too"
)


class SizesError(BnnError):
    """There is no network to time."""


class Sized(NamedTuple):
    """A network of the sweep: the name and the shape of its topology, and its width."""

    topology: str
    bits: int
    shape: Topology


@dataclass(frozen=True)
class Found:
    """All that was measured in one run. ``times``: keys are named by `_name`; ``missing``: way to compute -> why."""

    machine: Machine
    networks: list[Sized]
    times: Times
    missing: Mapping[str, str]


def run(reports: Path, cfg: Params, effort: Effort, tell: Callable[[str], object]) -> Found:
    """Measure every network of the table sweep.csv in the reports; ``tell`` gets each step and what is left out."""
    networks = _networks(reports / "sweep.csv", cfg, tell)
    here = machine.describe()
    machine.warn_if_busy(here, tell)
    tell(f"{len(networks)} networks of {len({each.topology for each in networks})} topologies; rounds: {effort.rounds}")
    images = np.random.default_rng(SEED).integers(0, WHITE + 1, (max(BATCHES), SIDE, SIDE), dtype=np.uint8)
    field: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    for (topology, one_bit), shape in {(each.topology, each.bits == 1): each.shape for each in networks}.items():
        made, lacking = (_one_bit(shape, images), {}) if one_bit else _wider(shape, images)
        field |= {_name(topology, each.name): each for each in made}
        missing |= lacking
    for reason in dict.fromkeys(missing.values()):
        tell(f"warning: {reason}")
    entries = [_entry(name, each, images[:batch]) for name, each in field.items() for batch in BATCHES]
    return Found(here, networks, timing.measure(entries, effort), missing)


def to_json(found: Found, effort: Effort, date: datetime.date) -> dict[str, Any]:
    """The record as JSON values. Times are microseconds per image."""
    return {
        **machine.conditions(found.machine, PACKAGES, date),
        "effort": asdict(effort),
        "note": NOTE,
        "missing": dict(found.missing),
        "networks": [_network(each, found.times) for each in found.networks],
    }


def _networks(table: Path, cfg: Params, tell: Callable[[str], object]) -> list[Sized]:
    """The networks of the table's rows on the data set, each once; those without a topology are left out."""
    data, found = cfg.data.name, []
    for topology, bits in sorted({(run.topology, run.bits) for run, _ in tables.read(table) if run.dataset == data}):
        if topology in cfg.topologies:
            found.append(Sized(topology, bits, cfg.topologies[topology].of(data, bits)))
        else:
            tell(f"warning: {topology}: not among the topologies of the parameters, so it is left out")
    if not found:
        raise SizesError(f"{table}: no row on {data} of a topology of the parameters; `bnn sweep` adds some")
    return found


def _random(shape: Topology, bits: Bits) -> Published:
    runtime.seed(SEED)
    return publish(ConvNet(shape, Quantization(bits=bits)), epoch=0)


def _one_bit(shape: Topology, images: NDArray[np.uint8]) -> list[Contestant]:
    """The packed network, checked."""
    model = pack.pack(_random(shape, 1))
    made = contestants.of_ours(model, [1])[1:]
    _check(made, images, reference.logits(model, images[:CHECKED]), 1.0)
    return made


def _wider(shape: Topology, images: NDArray[np.uint8]) -> tuple[list[Contestant], dict[str, str]]:
    """The network by onnxruntime in float32 and int8, checked, and what is missing."""
    network = _random(shape, FULL_BITS)
    made, missing = contestants.of_onnxruntime(contestants.fold(network), images, [1])
    _check(made, images, evaluation.logits(restore(network), torch.from_numpy(images[:CHECKED])).numpy(), AGREEMENT)
    return made, missing


def _check(made: Sequence[Contestant], images: NDArray[np.uint8], logits: NDArray[np.float32], wanted: float) -> None:
    for each in made:
        found = each.logits(images[:CHECKED]).argmax(axis=1)
        contestants.agreement(each.name, found, logits.argmax(axis=1), wanted)


def _name(topology: str, way: str) -> str:
    return f"{way} {topology}"


def _entry(name: str, contestant: Contestant, batch: NDArray[np.uint8]) -> Entry:
    return Entry(Key(name, 1, len(batch)), lambda: contestant.logits(batch))


def _network(network: Sized, times: Times) -> dict[str, Any]:
    return {
        "topology": network.topology,
        "bits": network.bits,
        "shape": network.shape.model_dump(mode="json"),
        "times": [*_times(network, times)],
    }


def _times(network: Sized, times: Times) -> Iterator[dict[str, Any]]:
    for way in _ways(network.bits):
        for key, samples in times.items():
            if key.name == _name(network.topology, way):
                spread = timing.rounded(timing.spread(samples))
                yield {"way": way, "batch": key.batch, "us_per_image": spread}


def _ways(bits: int) -> tuple[str, ...]:
    """How a network of that width is computed."""
    if bits == 1:
        return (FAST,)
    return (FLOAT32, INT8) if bits == INT8_BITS else (FLOAT32,)
