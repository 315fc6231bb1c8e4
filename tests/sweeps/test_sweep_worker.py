"""What a worker says about a job besides its row: the time of the training, or the error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.sweeps import moment, run

from bnnlib.config import params
from bnnlib.data import mnist, prepare
from bnnlib.data.splits import Split
from bnnlib.sweeps import grid, worker
from bnnlib.sweeps.grid import SweepError

JOB = grid.job(params.load(ROOT / "params.yaml"), {"images": "0" * 64}, worker.code_fingerprint())


class Clock:
    """A clock that moves only where the test says so; its two functions have different starting points."""

    now = 0.0

    def time(self) -> float:
        return 1_000_000 + self.now

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize("fails", [False, True])
def test_an_outcome_has_the_time_of_the_training_alone(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def slow_read(folder: Path) -> dict[str, Split]:
        assert folder == tmp_path
        clock.now += 100
        return {}

    def slow_train(*_: object) -> Any:
        clock.now += 7
        if fails:
            raise SweepError("training loss is nan")
        return run(key=JOB.key), (moment(JOB.key, 1),)

    for name in mnist.SPLITS:
        (tmp_path / f"{name}.npz").touch()
    monkeypatch.setattr(worker, "time", clock)
    monkeypatch.setattr(prepare, "read", slow_read)
    monkeypatch.setattr(worker, "_train", slow_train)
    outcome = worker.run_job(JOB, tmp_path)
    assert (outcome.run, outcome.error) == ((None, "training loss is nan") if fails else (run(key=JOB.key), None))
    assert (outcome.started, outcome.seconds) == (1_000_100, 7)


def test_a_worker_with_other_code_refuses(tmp_path: Path) -> None:
    outcome = worker.run_job(replace(JOB, code="other"), tmp_path)
    assert outcome.run is None
    assert outcome.error is not None
    assert "runs other code" in outcome.error
    assert outcome.seconds == 0


def test_damaged_data_is_an_error_of_the_job_and_does_not_end_the_sweep(tmp_path: Path) -> None:
    for name in mnist.SPLITS:
        (tmp_path / f"{name}.npz").write_bytes(b"damaged")
    outcome = worker.run_job(JOB, tmp_path)
    assert outcome.run is None
    assert outcome.error is not None
    assert "train.npz: damaged" in outcome.error
