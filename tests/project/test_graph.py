"""What makes a stage stale: the code that it runs, and nothing that running or testing leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.clone import Clone
from support.paths import ROOT

CODE = ("bnnlib/", "stages/")
TRAININGS = {"train_full", "train_binary"}
# Imports every module, and compiles the kernels of the packed engine into the package's own __pycache__.
RUN_ALL = """
import importlib, pkgutil
import numpy as np
import bnnlib, stages
for package in (bnnlib, stages):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from pathlib import Path
from bnnlib.packed import engines, format
model = format.decode(Path("models/binary.bnn").read_bytes())
engines.fast(model).logits(np.zeros((1, 28, 28), np.uint8))
"""


def test_outputs_that_git_keeps_are_not_removed_before_new_ones_are_there() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    options = [out for stage in stages.values() for out in stage.get("outs", []) if isinstance(out, dict)]
    assert len(options) == 17
    assert all([*out.values()] == [{"cache": False, "persist": True}] for out in options)


@pytest.fixture(scope="module")
def graph(make_clone: Callable[[str], Clone]) -> Clone:
    """A clone whose stages have the code that the real ones depend on, and do nothing."""
    clone = make_clone("graph")
    real = YAML(typ="safe").load(clone.read("dvc.yaml"))["stages"]
    stages = {name: {"cmd": "true", "deps": code_of(stage)} for name, stage in real.items()}
    (clone.folder / "dvc.yaml").write_text(json.dumps({"stages": stages}), encoding="utf-8")  # JSON is YAML
    (clone.folder / "dvc.lock").unlink()
    clone.run("dvc", "repro")
    return clone


def code_of(stage: dict[str, Any]) -> list[str]:
    return [dependency for dependency in stage["deps"] if dependency.startswith(CODE)]


def stale(clone: Clone) -> set[str]:
    """The stages that `dvc repro` would run."""
    return set(json.loads(clone.run("dvc", "status", "--json").stdout))


def append(clone: Clone, name: str) -> None:
    path = clone.folder / name
    path.write_text(f"{path.read_text(encoding='utf-8')}\n# one more line\n", encoding="utf-8")


def test_what_running_compiling_and_testing_leave_makes_nothing_stale(graph: Clone) -> None:
    graph.run("python", "-c", RUN_ALL, PYTHONPATH=str(graph.folder), PYTHONDONTWRITEBYTECODE="")
    cached = {path.suffix for path in (graph.folder / "bnnlib").rglob("__pycache__/*")}
    assert cached == {".pyc", ".nbc"}
    for name in ("bnnlib/core/.files.py.tmp", "stages/.ruff_cache/x", "bnnlib/.mypy_cache/x", "bnnlib/nn/a.pyc"):
        (graph.folder / name).parent.mkdir(exist_ok=True)
        (graph.folder / name).write_text("left behind")
    append(graph, "tests/conftest.py")
    append(graph, "README.md")
    assert stale(graph) == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bnnlib/report/figures/curves.py", {"visualize", "report"}),
        ("bnnlib/report/tables.py", {"evaluate", "visualize", "report"}),
        ("bnnlib/serving/pyfunc.py", {"pack"}),
        ("bnnlib/packed/fast.py", {"pack", "agreement", "evaluate", "robustness", "sweep"}),
        ("bnnlib/data/sources.py", {"download", "preprocess", "sweep"}),
        ("bnnlib/export/c_code.py", {"pack", "agreement"}),
        ("bnnlib/robustness/bits.py", {"robustness"}),
        ("bnnlib/cli.py", set()),
        ("bnnlib/benchmark/timing.py", set()),
        ("stages/train.py", TRAININGS),
    ],
)
def test_an_edit_makes_stale_what_runs_it(graph: Clone, name: str, expected: set[str]) -> None:
    before = graph.read(name)
    append(graph, name)
    try:
        assert stale(graph) == expected
    finally:
        (graph.folder / name).write_text(before, encoding="utf-8")


def test_an_edit_of_a_quantizer_retrains(graph: Clone) -> None:
    append(graph, "bnnlib/nn/quantizers.py")
    assert stale(graph) >= TRAININGS
