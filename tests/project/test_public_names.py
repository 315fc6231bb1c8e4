"""The public names of the package: loaded on first use, visible to type checkers, with examples that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from support import patterns
from support.paths import ROOT

import bnnlib

# Where each name is, as the table for the first use has it: module, name there.
HOMES = {
    name: (f"bnnlib.{home.partition(':')[0]}", home.partition(":")[2] or name) for name, home in bnnlib._HOMES.items()
}
DOCUMENTED = [
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in sorted((ROOT / "bnnlib").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import bnnlib; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names} == {"bnnlib"}


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "bnnlib/__init__.py").read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == HOMES
    assert bnnlib.__all__ == sorted([*HOMES, "__version__"])
    assert dir(bnnlib) == bnnlib.__all__


@pytest.mark.parametrize("name", HOMES)
def test_each_name_is_the_documented_object_of_its_home(name: str) -> None:
    module, other = HOMES[name]
    found = getattr(bnnlib, name)
    assert found is getattr(importlib.import_module(module), other)
    assert found.__doc__


def test_the_version_is_that_of_the_installed_package() -> None:
    assert bnnlib.__version__ == version("bnnlib")


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="'lod'"):
        bnnlib.lod  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_itself_has_examples() -> None:
    assert {"bnnlib", "bnnlib.serving.predict"} <= set(DOCUMENTED)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_a_network_trained_from_python_is_saved_packed_and_run(tmp_path: Path) -> None:
    training = bnnlib.read_params(ROOT / "params.yaml").training("binary")
    short = training.recipe.model_copy(update={"epochs": 1, "batch_size": 20})
    training = training.model_copy(update={"recipe": short, "norm_images": None})
    train, validation = (patterns.split(count, seed) for seed, count in enumerate((40, 20)))
    epochs = list(bnnlib.fit(bnnlib.Split(*train), validation, training))
    bnnlib.write_published(tmp_path / "mine.safetensors", bnnlib.best_epoch(epochs).published)
    model = bnnlib.pack(bnnlib.read_published(tmp_path / "mine.safetensors"))
    (tmp_path / "mine.bnn").write_bytes(bnnlib.encode(model))
    logits = bnnlib.engine(bnnlib.load(tmp_path / "mine.bnn")).logits(validation.images)
    assert logits.shape == (20, 10)
    assert np.isfinite(logits).all()
