"""The compiled code on smaller processors, and its cache on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching
from support.paths import ROOT

from bnnlib.packed import jit

IMPORTS = "from support import engines, networks; from bnnlib.packed import kernels; "
MISSES = "; print(sum(kernels.run.stats.cache_misses.values()))"  # how often `run` was compiled


def child(code: str, root: Path = ROOT, **environment: str) -> str:
    """Output of Python code in another process, with the package and the tests of a folder."""
    path = os.pathsep.join([str(root), str(root / "tests")])
    command = [sys.executable, "-W", "error", "-c", IMPORTS + code + MISSES]
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(command, cwd=root, env=variables, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "processor",
    [
        "generic",
        pytest.param("x86-64-v3", marks=pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs x86")),
    ],
)
def test_smaller_processors_give_the_same(processor: str, tmp_path: Path) -> None:
    masked = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert child("engines.check_fixed_networks()", **masked) == "1"


def test_the_cache_is_used_until_the_code_changes(tmp_path: Path) -> None:
    for name in ("bnnlib/core", "bnnlib/packed", "tests/support"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bnnlib/__init__.py").touch()

    def compilations() -> str:
        return child("engines.check(*networks.draw('one pixel'))", tmp_path, NUMBA_CACHE_DIR=str(tmp_path))

    assert [compilations(), compilations()] == ["1", "0"]
    for name in ("kernels", "vectors"):
        with (tmp_path / f"bnnlib/packed/{name}.py").open("a") as source:
            source.write("CHANGED = True\n")
        assert compilations() == "1"


def test_without_a_folder_for_the_cache_the_code_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert jit.kernel()(lambda x: x + 1)(2) == 3
