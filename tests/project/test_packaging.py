"""The package as users install it: what sdist and wheel hold, and the wheel alone in a fresh environment."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import drawings, imports
from support.networks import COMMITTED, committed
from support.paths import ROOT

import bnnlib
from bnnlib import cli
from bnnlib.commands import benchmark, networks, study, ui
from bnnlib.export import c_code

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UV = str(Path(sys.executable).with_name("uv"))
LARGEST_BYTES = 300_000_000  # of a plain install, of which LLVM, for Numba, is 180 million


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def uv(*words: str, **extra: str) -> None:
    done = subprocess.run([UV, *words], capture_output=True, text=True, check=False, env={**os.environ, **extra})
    assert done.returncode == 0, done.stderr


# What is built.


class Built(NamedTuple):
    """The files that the build makes: the wheel once by way of the sdist, once from the working tree."""

    sdist: Path
    wheel: Path
    wheel_of_tree: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    build = ["build", "--quiet", "--no-build-isolation", "--python", sys.executable, str(ROOT), "--out-dir"]
    uv(*build, str(folder / "both"))
    uv(*build, str(folder / "tree"), "--wheel")
    [sdist], [wheel], [of_tree] = (
        list(folder.glob(pattern)) for pattern in ("both/*.tar.gz", "both/*.whl", "tree/*.whl")
    )
    return Built(sdist, wheel, of_tree)


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_of_the_sdist_is_that_of_the_tree(built: Built) -> None:
    assert members(built.wheel) == members(built.wheel_of_tree)


def test_the_wheel_holds_the_package_with_its_default_network_and_nothing_else(built: Built) -> None:
    found = members(built.wheel)
    about = f"bnnlib-{bnnlib.__version__}.dist-info/"
    inside = {name: content for name, content in found.items() if not name.startswith(about)}
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "bnnlib").rglob("*.py")}
    extra = {"bnnlib/py.typed": b"", "bnnlib/serving/default.bnn": COMMITTED.read_bytes()}
    assert inside == files | extra


def test_the_sdist_holds_no_data_and_no_reports(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        parts = {tuple(name.split("/")[1:2]) for name in archive.getnames()}
    files = {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml", ".gitignore"}
    assert {part for [part] in parts} == {"bnnlib", "models"} | files


# A plain install.


class Installed(NamedTuple):
    """An environment with the wheel; ``size``: in bytes, before anything ran in it."""

    folder: Path
    size: int

    def run(self, folder: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands in a folder, with nothing of the caller's environment that Python or we read."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BNN_"))}
        return subprocess.run(
            [str(self.folder / "bin" / command), *words],
            cwd=folder, env=kept, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "env"
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    # The lock's versions. Its hashes are checked where the lock itself is installed; a wheel just built has none there.
    lock = ["--no-verify-hashes", "--constraint", str(ROOT / "requirements.txt")]
    uv("pip", "install", "--quiet", *lock, str(built.wheel), VIRTUAL_ENV=str(folder))
    return Installed(folder, sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()))


def test_a_plain_install_is_small(installed: Installed) -> None:
    print(f"{installed.size:,} bytes")
    assert installed.size < LARGEST_BYTES


def test_a_plain_install_has_no_heavy_package(installed: Installed, tmp_path: Path) -> None:
    """What the extras need and the base does not bring; Typer brings rich, and since 0.29 pydantic."""
    script = "import importlib.metadata as m; print(*(each.name for each in m.distributions()))"
    found = names(installed.run(tmp_path, "python", "-c", script).stdout.split())
    assert {"bnnlib", *names(PROJECT["dependencies"])} <= found
    extras = names([text for texts in PROJECT["optional-dependencies"].values() for text in texts])
    assert {"torch", "pandas", "dvc", "mlflow"} <= extras
    assert found & extras <= {"bnnlib", "pydantic", "rich"}


def test_predict_names_a_digit_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    drawings.drawing().save(tmp_path / "seven.png")
    done = installed.run(tmp_path, "bnn", "predict", "--json", "seven.png")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    assert (found["file"], found["digit"]) == ("seven.png", 7)
    assert done.stderr == ""


SCRIPT = """
import warnings
warnings.simplefilter("error")
import bnnlib
import numpy as np
print(bnnlib.__version__, bnnlib.__file__)
print(bnnlib.classify("seven.png")[0].digit)
model = bnnlib.load()
print(len(bnnlib.encode(model)))
engine = bnnlib.engine(model)
print(type(engine).__module__, *engine.logits(np.zeros((3, 28, 28), np.uint8)).shape)
"""


def test_the_package_predicts_from_python_by_the_fast_engine(installed: Installed, tmp_path: Path) -> None:
    drawings.drawing().save(tmp_path / "seven.png")
    done = installed.run(tmp_path, "python", "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    first, digit, size, engine = done.stdout.splitlines()
    number, file = first.split()
    assert number == bnnlib.__version__
    assert Path(file).is_relative_to(installed.folder)
    assert (digit, int(size)) == ("7", COMMITTED.stat().st_size)
    assert engine == "bnnlib.packed.fast 3 10"


def test_export_to_c_works(installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path, "bnn", "export", "--format", "c", "--out", "firmware")
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text() for path in (tmp_path / "firmware").iterdir()}
    assert written == c_code.generate(committed())


ARGUMENTS = {"compare": "a.bnn b.bnn"}
NEEDING = [
    (f"{command.__name__} {ARGUMENTS.get(command.__name__, '')}", extra)
    for command, extra in cli.COMMANDS.items()
    if extra is not None
]


@pytest.mark.parametrize(("words", "extra"), [*NEEDING, ("export --format onnx", "onnx")])
def test_a_command_names_the_extra_that_it_needs(words: str, extra: str, installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path, "bnn", *words.split())
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"pip install 'bnnlib[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_name_that_needs_an_extra_says_so(installed: Installed, tmp_path: Path) -> None:
    script = "import bnnlib\ntry: bnnlib.ConvNet\nexcept ImportError as error: print(error)"
    done = installed.run(tmp_path, "python", "-c", script)
    expected = "bnnlib.ConvNet needs torch, which is not installed: pip install 'bnnlib[train]'"
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.parametrize("command", [("bnn",), ("python", "-m", "bnnlib")])
def test_help_and_version(command: tuple[str, ...], installed: Installed, tmp_path: Path) -> None:
    assert installed.run(tmp_path, *command, "--version").stdout == f"bnn {bnnlib.__version__}\n"
    done = installed.run(tmp_path, *command, "--help")
    assert done.returncode == 0, done.stderr
    assert all(each.__name__ in done.stdout for each in cli.COMMANDS)


def test_the_stages_are_not_installed(installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path, "python", "-c", "import stages")
    assert "ModuleNotFoundError: No module named 'stages'" in done.stderr


# What pyproject.toml declares.

# Named by packages that we do declare, as part of their interface.
BELONGS_TO = {"pydantic-core": "pydantic", "llvmlite": "numba", "sqlalchemy": "mlflow"}
HOLDERS = packages_distributions()  # top-level module -> distributions


def declared(extra: str | None) -> set[str]:
    """The distributions that an extra lists with the base, its own extras resolved."""
    texts = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = names(PROJECT["dependencies"])
    for requirement in map(Requirement, texts):
        if requirement.name == "bnnlib":
            found = found.union(*map(declared, requirement.extras))
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def undeclared(files: set[str], extras: set[str | None]) -> set[str]:
    """The modules that files of ours import and that no distribution of the extras has."""
    allowed = set().union(*map(declared, extras))
    modules = {name for file in files for name in imports.top_level(file)} - sys.stdlib_module_names
    found = {name: set(map(canonicalize_name, HOLDERS.get(name, ["?"]))) for name in modules - {*imports.PACKAGES}}
    return {name for name, holders in found.items() if not {BELONGS_TO.get(each, each) for each in holders} & allowed}


def closure_of(function: Callable[..., object]) -> set[str]:
    """The files of ours that a function imports, and those that they import."""
    nodes = [node for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    files = {file for name in names if (ROOT / (file := f"{name.replace('.', '/')}.py")).is_file()}
    return set().union(*map(imports.closure, files))


@pytest.mark.parametrize("command", [networks.summary, networks.compare])
def test_the_extra_of_a_command_has_what_it_imports(command: Callable[..., None]) -> None:
    files = closure_of(command)
    assert "torch" in undeclared(files, {None})
    assert undeclared(files, {cli.COMMANDS[command]}) == set()


def test_the_extra_of_the_other_commands_has_what_they_import() -> None:
    """Except what names its own extra where it is missing."""
    modules = {study.__name__, benchmark.__name__, ui.__name__}
    [extra] = {extra for command, extra in cli.COMMANDS.items() if command.__module__ in modules}
    files = set().union(*(imports.closure(f"{module.replace('.', '/')}.py") for module in modules))
    assert {"mlflow", "ruamel"} <= undeclared(files, {None})
    assert undeclared(files, {extra}) == {"onnx", "onnxruntime", "distributed"}
    assert undeclared(files, {extra, "peers", "cluster"}) == set()


def test_the_extra_train_has_what_the_names_for_training_import() -> None:
    homes = {f"bnnlib/{home.partition(':')[0].replace('.', '/')}.py" for home in bnnlib._HOMES.values()}
    files = set().union(*map(imports.closure, homes))
    assert {"torch", "pydantic"} <= undeclared(files, {None})
    assert undeclared(files, {"train"}) == set()


def test_the_extra_dev_has_every_extra() -> None:
    assert declared("dev") >= set().union(*map(declared, PROJECT["optional-dependencies"]))


def test_the_lock_has_every_extra() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    locked = names([line.removesuffix("\\").strip() for line in lines if line[:1].isalnum()])
    assert locked >= declared("dev")


def test_the_supported_versions_of_python_are_named() -> None:
    named = [each.rpartition(" :: ")[2] for each in PROJECT["classifiers"] if " Python :: " in each]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert ".".join(map(str, sys.version_info[:2])) in named
    assert distribution("bnnlib").metadata["Requires-Python"] == PROJECT["requires-python"]
