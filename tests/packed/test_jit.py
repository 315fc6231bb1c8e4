"""The compiled code on smaller processors, and when it is compiled again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

IMPORTS = "from support import engines, networks; from bnnlib.packed import kernels; "
MISSES = "; print(sum(kernels.run.stats.cache_misses.values()))"  # how often `run` was compiled


def child(code: str, root: Path = ROOT, **environment: str) -> str:
    """Output of Python code in another process, with the package and the tests of a folder."""
    path = os.pathsep.join([str(root), str(root / "tests")])
    command = [sys.executable, "-W", "error", "-c", IMPORTS + code]
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
    assert child("engines.check_fixed_networks()" + MISSES, **masked) == "1"


def test_the_cache_is_used_until_the_code_changes(tmp_path: Path) -> None:
    for name in ("bnnlib/core", "bnnlib/packed", "tests/support"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bnnlib/__init__.py").touch()

    def run(code: str) -> str:
        return child(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path))

    def sources() -> str:
        return run("print(kernels.run._cache.sources)")

    once = "engines.check(*networks.draw('one pixel'))" + MISSES
    assert [run(once), run(once)] == ["1", "0"]
    found = [sources(), sources()]
    for name in ("kernels", "vectors", "plan"):
        with (tmp_path / f"bnnlib/packed/{name}.py").open("a") as source:
            source.write("CHANGED = True\n")
        found.append(sources())
    assert len(set(found)) == 4
