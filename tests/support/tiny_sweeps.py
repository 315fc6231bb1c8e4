"""A study with tiny parameters, for real sweeps of tiny trainings, and a Dask cluster on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client
from ruamel.yaml import YAML
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.data import sources
from bnnlib.sweeps import grid, sweep, worker
from bnnlib.sweeps.backends import Workers
from bnnlib.sweeps.grid import Job
from bnnlib.sweeps.tables import Tables

AXES: dict[str, list[Any]] = {"seeds": [0, 1], "bits": [1, 16]}
# Topologies and their numbers of channels, each of one block that leaves a map of 4 x 4.
TINY = {"two": 2, "three": 3}
HERE = Workers("loky", jobs=2)


@dataclass(frozen=True)
class Study:
    """A folder with tiny parameters, the data, and the table and output of an uninterrupted sweep of four runs."""

    folder: Path
    cfg: Params
    tables: Tables
    lines: list[str]

    @property
    def data(self) -> Path:
        """The folder with the manifest and raw/."""
        return self.folder / "data"

    def job(self, point: Params) -> Job:
        """The job of a point of the grid."""
        manifest = sources.read_manifest(self.data / "mnist.sha256")
        return grid.job(point, manifest, worker.code_fingerprint())

    def jobs(self) -> list[Job]:
        """The four jobs of the sweep."""
        return [self.job(point) for point in grid.variants(self.cfg, AXES)]

    def perform(self, out: Path, engine: Workers = HERE, **axes: list[Any]) -> list[str]:
        """Sweep again into another table, with some axes replaced; the lines of the output."""
        return list(sweep.perform(self.cfg, {**AXES, **axes}, self.data, out, engine))


class Cluster:
    """A Dask cluster on loopback, with its scheduler started; its processes end with the stack."""

    def __init__(self, stack: ExitStack, folder: Path, environment: dict[str, str]) -> None:
        self._stack = stack
        self._folder = folder
        self._environment = environment
        self.meeting = str(folder / "scheduler.json")  # has the scheduler's address
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port", "0")

    def start_worker(self, **environment: str) -> None:
        """Start a worker of one thread, with more variables; nothing starts it again when it ends."""
        files = ["--local-directory", str(self._folder / f"worker{len(self.workers)}")]
        self.workers.append(self._start("worker", "--nthreads", "1", "--no-nanny", *files, **environment))

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        dask = str(Path(sys.executable).parent / "dask")
        common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", self.meeting]
        log = self._stack.enter_context((self._folder / "cluster.log").open("ab"))
        variables = {**os.environ, **self._environment, **environment}
        process = subprocess.Popen([dask, *arguments, *common], cwd=self._folder, env=variables, stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@contextmanager
def cluster_in(folder: Path, **environment: str) -> Iterator[Cluster]:
    """A cluster without workers yet; ``environment``: variables of all its processes."""
    with ExitStack() as stack:
        yield Cluster(stack, folder, environment)


def fill(folder: Path, raw: Path) -> None:
    """Make a folder one in which a sweep can run: tiny parameters, the manifest of the data, and the raw data."""
    (folder / "data").mkdir()
    (folder / "data/raw").symlink_to(raw)
    (folder / "data/mnist.sha256").write_bytes((ROOT / "data/mnist.sha256").read_bytes())
    write_tiny_parameters(folder / "params.yaml")


def write_tiny_parameters(path: Path) -> None:
    """Write the committed parameters, but with few images, one epoch and two more topologies, which are tiny."""
    content = params.load(ROOT / "params.yaml").model_dump()
    content["data"]["limit"] = 200
    content["train"]["norm_images"] = 100
    inputs = {"mnist": [34, 128], "fashion_mnist": [8], "kmnist": [64]}
    for name, channels in TINY.items():
        blocks = [{"channels": channels, "kernel": 5, "pool": 6}]
        content["topologies"][name] = {"input": inputs, "blocks": blocks}
    content["model"]["topology"] = "two"
    for recipe in ("full", "binary", "multibit"):
        content[recipe] |= {"epochs": 1, "batch_size": 40}
    with path.open("w") as file:
        YAML().dump(content, file)


def busy_worker(watcher: Client) -> str:
    """The address of a worker that is training; between two trials there may be none for a moment."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for address, keys in watcher.processing().items():
            if keys:
                return str(address)
        time.sleep(0.05)
    raise AssertionError("no worker was given a trial for 60 seconds")
