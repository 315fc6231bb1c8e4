"""What tests of stages share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.stage_runs import DVC


@pytest.fixture
def dvc(tmp_path: Path) -> list[str]:
    """The start of a command that runs the source of a stage below a Python that is called dvc."""
    program = tmp_path / "dvc"
    program.symlink_to(sys.executable)
    return [str(program), "-c", DVC, sys.executable, "-c"]
