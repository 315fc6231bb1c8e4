"""A search on a Dask cluster: its workers write the storage in a shared folder, and one of them dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from distributed import Client
from support.paths import ROOT
from support.searches import ASKED, site
from support.tiny_sweeps import busy_worker, cluster_in

from bnnlib.search import search
from bnnlib.sweeps.backends import Workers


def test_the_trial_of_a_worker_that_is_killed_is_trained_by_another_one(
    raw_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    at = site(tmp_path, raw_dir)
    with (
        cluster_in(tmp_path, PYTHONPATH=str(ROOT)) as cluster,
        Client(scheduler_file=cluster.meeting, set_as_default=False, timeout=60) as watcher,
    ):
        cluster.start_worker()
        cluster.start_worker()
        watcher.wait_for_workers(2, timeout=60)
        workers = Workers("dask", scheduler=watcher.scheduler.address)
        lines = search.perform(at.cfg, ASKED, at.places("s"), workers)
        first = [next(lines), next(lines)]
        victims = watcher.run(os.getpid)
        os.kill(victims[busy_worker(watcher)], signal.SIGKILL)
        rest = list(lines)
    assert first[0].startswith("10 trials, 0 of them")
    numbers = [line.split()[0] for line in [first[1], *rest] if line.split()[0].endswith("/10")]
    # The killed worker may have ended a trial whose line was still on its way.
    assert numbers in [[f"{number}/10" for number in range(1, most + 1)] for most in (9, 10)]
    assert [row["trial"] for row in at.rows("s")] == [str(number) for number in range(10)]
    assert {row["state"] for row in at.rows("s")} <= {"complete", "pruned"}
    assert at.storage("s").missing() == []
