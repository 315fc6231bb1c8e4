"""Measurements in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import networks
import pytest
from conftest import ROOT

from bnnlib.benchmark import child
from bnnlib.benchmark.child import ChildError

# Compiles `run` and prints how often its code names the widest registers.
WIDEST = """
import numpy as np
from networks import committed
from bnnlib.packed import fast
fast.Engine(committed()).dots(np.zeros((1, 28, 28), np.uint8))
print("".join(fast.run.inspect_asm().values()).count("zmm"))
"""


@pytest.mark.skipif(not child.CLEAR_REFS.exists(), reason="only Linux tells a process its peak of memory")
def test_memory_of_ten_thousand_images() -> None:
    found = child.call("memory", {"network": str(networks.COMMITTED)}, {})
    assert found["images"] == 10_000
    # At least the mismatches of the head: 16 lanes of int32 for each image; a peak that is not seen would give 0.
    assert 10_000 * 16 * 4 / 1e6 <= found["growth_mb"] < 200
    assert found["growth_mb"] < found["process_mb"] < 1000


def test_a_status_without_the_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(child, "STATUS", tmp_path / "status")
    child.STATUS.write_text("VmRSS:\t   1000 kB\n")
    assert child._status_mb("VmRSS") == 1.024
    with pytest.raises(ChildError, match="status tells no VmHWM"):
        child._status_mb("VmHWM")


def test_a_fault_in_the_child_is_told() -> None:
    with pytest.raises(ChildError, match=r"the measurement 'memory' ended with 1: nowhere\.bnn: cannot be read"):
        child.call("memory", {"network": "nowhere.bnn"}, {})


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the mask is for x86 processors")
def test_the_mask_leaves_no_wide_registers(tmp_path: Path) -> None:
    environment = {**os.environ, **child.MASK, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WIDEST], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
