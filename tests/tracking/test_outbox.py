"""Errors of the store at any call: nothing is lost, nothing is logged twice, and a part never says FINISHED."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.clone import Clone
from support.stage_runs import failing, rows, stage, statuses

REGISTER = """
    import torch
    from bnnlib.tracking import models
    import numpy as np
    images = np.zeros((2, 28, 28), np.uint8)
    models.register_network(
        log, "bnn-full", torch.nn.Flatten(), Path("models/full.safetensors"), images, {"epoch": 1}
    )
"""


def run(clone: Clone, source: str) -> subprocess.CompletedProcess[str]:
    return clone.run(sys.executable, "-c", source)


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_artifact", "set_tag", "set_terminated"])
def test_a_call_that_fails_once_is_made_again(call: str, clone: Clone, database: Path) -> None:
    done = run(clone, failing(call, "ConnectionError('away')", times=1) + stage())
    assert done.returncode == 0
    assert done.stderr.count("warning:") == 1
    assert statuses(database) == [("train_full", "FINISHED")]
    assert rows(database, "select step from metrics order by step") == [(1,), (2,), (3,)]
    assert rows(database, "select key, value from params") == [("seed", "0")]
    assert rows(database, "select count(*) from tags where key = 'data_sha256'") == [(1,)]


def test_the_run_above_gets_its_parameters_after_an_error(clone: Clone, database: Path, dvc: list[str]) -> None:
    source = failing("log_batch", "ConnectionError('away')", times=1) + stage()
    subprocess.run([*dvc, source], cwd=clone.folder, env=clone.environment, check=True, capture_output=True)
    [(above, _), _] = statuses(database)
    query = f"select count(*) from params join runs using (run_uuid) where name = '{above}'"  # noqa: S608 a name of ours
    assert rows(database, query)[0][0] > 50


def test_a_file_that_cannot_be_stored_costs_itself_and_the_word_finished(clone: Clone, database: Path) -> None:
    done = run(clone, failing("log_artifact", "OSError(28, 'No space left on device')", times=9) + stage())
    assert done.returncode == 0
    assert done.stdout == "done\n"
    assert "No space left" in done.stderr
    assert statuses(database) == [("train_full", "FAILED")]
    assert rows(database, "select step from metrics order by step") == [(1,), (2,), (3,)]


def test_a_version_is_registered_once(clone: Clone, database: Path) -> None:
    done = run(clone, failing("set_registered_model_alias", "ConnectionError('away')", times=1) + stage(REGISTER))
    assert done.returncode == 0, done.stderr
    assert rows(database, "select version from model_versions") == [(1,)]
    assert rows(database, "select alias, version from registered_model_aliases") == [("candidate", 1)]
    assert rows(database, "select value from model_version_tags where key = 'epoch'") == [("1",)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_during_the_last_attempts_never_leaves_a_finished_run(
    number: signal.Signals, clone: Clone, database: Path
) -> None:
    error = "print('fails', flush=True) or ConnectionError('away')"
    source = failing("set_terminated", error, times=1, pause_s=9) + stage()  # the signal comes in the pause
    command = [sys.executable, "-c", source]
    with subprocess.Popen(
        command, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "fails\n":
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) != 0
    assert statuses(database) == [("train_full", "FAILED")]  # its log is whole, but for all it knows it is not
