"""Dask clusters that cannot run a job: a worker without the package, and jobs that end their workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from support.paths import ROOT
from support.tiny_sweeps import Cluster, cluster_in

from bnnlib.config import params
from bnnlib.sweeps import backends, grid
from bnnlib.sweeps.backends import Workers
from bnnlib.sweeps.grid import Job, SweepError

JOB = grid.job(params.load(ROOT / "params.yaml"), {"images": "0" * 64}, code="c")
# Python runs a module of this name as it starts.
HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bnnlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


class Deadly(Job):
    """A job that ends the process which loads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (1,)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Its hosts lack the package, as they see it, and it gives a job up when that has ended one worker."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    options = {"PYTHONPATH": str(tmp_path), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster_in(tmp_path, **options) as found:
        yield found


def run(job: Job, scheduler: str) -> None:
    for outcome in backends.results([job], {job.key: Path("nowhere")}, Workers("dask", scheduler=scheduler)):
        assert outcome.error is not None
        raise SweepError(outcome.error)


def test_a_cluster_that_cannot_run_a_job_is_an_error_and_not_an_endless_wait(cluster: Cluster) -> None:
    """One test, because a cluster takes seconds to start. The scheduler never needs the package."""
    with Client(scheduler_file=cluster.meeting, set_as_default=False, timeout=60) as watcher:
        address = watcher.scheduler.address
        cluster.start_worker()
        watcher.wait_for_workers(1, timeout=60)
        [without] = watcher.scheduler_info()["workers"]
        lacking = rf"{address} cannot load bnnlib: {without} \(No module named 'bnnlib'\); install bnnlib\[train\]"
        with pytest.raises(SweepError, match=lacking):
            run(JOB, address)
        cluster.start_worker(PYTHONPATH=str(ROOT))
        watcher.wait_for_workers(2, timeout=60)
        watcher.retire_workers([without])
        with pytest.raises(SweepError, match=r"this worker runs other code .* than the command"):
            run(JOB, address)
        with pytest.raises(SweepError, match="a job ended each worker that took it"):
            run(Deadly(**vars(JOB)), address)
