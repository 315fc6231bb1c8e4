"""What tests of stages share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clone import Clone
from support.stage_runs import DVC, fresh


@pytest.fixture(scope="module")
def clone(make_clone: Callable[[str], Clone]) -> Clone:
    """A clone to run stages in; its database has the runs of all tests of a file."""
    return make_clone("stages")


@pytest.fixture
def database(clone: Clone) -> Path:
    """The clone's database without the runs of other tests."""
    return fresh(clone.folder / "mlflow.db")


@pytest.fixture
def dvc(tmp_path: Path) -> list[str]:
    """The start of a command that runs the source of a stage below a Python that is called dvc."""
    program = tmp_path / "dvc"
    program.symlink_to(sys.executable)
    return [str(program), "-c", DVC, sys.executable, "-c"]
