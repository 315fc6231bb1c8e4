"""The measurement without AVX-512, in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from bnnlib.benchmark import isolated
from bnnlib.benchmark.isolated import MaskedError
from bnnlib.benchmark.timing import Effort

# Compiles `run` and prints how often its machine code names the 512-bit registers.
WIDEST = """
import numpy as np
from support.networks import baseline
from bnnlib.packed import fast, kernels
fast.Engine(baseline()).dots(np.zeros((1, 28, 28), np.uint8))
print("".join(kernels.run.inspect_asm().values()).count("zmm"))
"""


def test_the_child_runs_this_package_and_reports_its_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a folder with another package of this name."""
    monkeypatch.chdir(tmp_path)
    Path("bnnlib").mkdir()
    Path("bnnlib/__init__.py").write_text("raise SystemExit('another package')")
    with pytest.raises(MaskedError, match=r" 1: nowhere/full\.safetensors: cannot be read"):
        isolated.run(Path("nowhere"), Path("nowhere"), 1, Effort())


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the mask is for x86 processors")
def test_the_mask_leaves_no_wide_registers(tmp_path: Path) -> None:
    environment = {**os.environ, **isolated.MASK, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WIDEST], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
