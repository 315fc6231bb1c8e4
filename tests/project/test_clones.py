"""In every kind of clone there is nothing to train, and the commands work: real git, real DVC."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import drawings
from support.clone import Checkout, Clone

UP_TO_DATE = "Data and pipelines are up to date."
FILE_URLS = ("-c", "protocol.file.allow=always")  # git refuses a submodule from a folder otherwise
Make = Callable[[Clone, Path], Checkout]


@pytest.fixture(scope="module")
def origin(make_clone: Callable[[str], Clone]) -> Clone:
    """The project, up to date and committed, with its data in DVC's cache; in a path with odd characters."""
    clone = make_clone("Früh stück 数字 'n")
    clone.settle()
    return clone


def unpacked(origin: Clone, folder: Path) -> Checkout:
    """What a downloaded archive holds: the committed files, no repository."""
    folder.mkdir()
    origin.run("git", "archive", "--output", f"{folder}.tar", "HEAD")
    with tarfile.open(f"{folder}.tar") as archive:
        archive.extractall(folder, filter="data")
    return Checkout(folder, origin.environment)


def archive_with_git(origin: Clone, folder: Path) -> Checkout:
    checkout = unpacked(origin, folder)
    checkout.run("git", "init", "--quiet")
    return checkout


def archive_without_git(origin: Clone, folder: Path) -> Checkout:
    checkout = unpacked(origin, folder)
    checkout.run("dvc", "config", "--local", "core.no_scm", "true")
    return checkout


def shallow(origin: Clone, folder: Path) -> Checkout:
    checkout = origin.clone(folder, "--depth", "1", "--no-local")
    assert checkout.run("git", "rev-parse", "--is-shallow-repository").stdout == "true\n"
    return checkout


def submodule(origin: Clone, folder: Path) -> Checkout:
    folder.mkdir()
    outer = Checkout(folder, origin.environment)
    outer.run("git", "init", "--quiet")
    outer.run("git", *FILE_URLS, "submodule", "--quiet", "add", str(origin.folder), "study")
    return Checkout(folder / "study", origin.environment)


def worktree(origin: Clone, folder: Path) -> Checkout:
    origin.run("git", "worktree", "add", "--quiet", str(folder))
    return Checkout(folder, origin.environment)


KINDS: dict[str, Make] = {
    "line ends of Windows": lambda origin, folder: origin.clone(folder, "--config", "core.autocrlf=true"),
    "shallow": shallow,
    "worktree": worktree,
    "submodule": submodule,
    "archive, git init": archive_with_git,
    "archive, no git": archive_without_git,
}


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """An image file with a 7."""
    path = tmp_path / "seven.png"
    path.write_bytes(drawings.saved(drawings.drawing()))
    return path


def status(checkout: Checkout) -> str:
    """What git sees changed; nothing where there is no repository with a commit."""
    return checkout.run("git", "status", "--porcelain", "--untracked-files=no", check=False).stdout


def assert_works(checkout: Checkout, drawing: Path) -> None:
    """Nothing to train, a prediction, the thresholds, the page; no file changes."""
    assert UP_TO_DATE in checkout.run("dvc", "repro").stdout
    assert checkout.bnn("predict", str(drawing)).stdout.startswith("digit 7 ")
    checkout.bnn("check")
    checkout.bnn("readme", "--check")
    assert status(checkout) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_data_there_is_nothing_to_do(kind: str, origin: Clone, drawing: Path, tmp_path: Path) -> None:
    checkout = KINDS[kind](origin, tmp_path / "study")
    assert status(checkout) == ""
    (checkout.folder / ".dvc/cache").symlink_to(origin.folder / ".dvc/cache")
    checkout.run("dvc", "checkout")
    assert_works(checkout, drawing)


def test_a_path_may_hold_spaces_quotes_and_any_letters(origin: Clone, drawing: Path) -> None:
    assert_works(origin, drawing)
    assert (origin.folder / "mlflow.db").exists()
    assert len(list((origin.folder / "data").rglob("*.npz"))) == 3


def test_line_ends_are_those_of_the_repository_whatever_git_is_told(origin: Clone, tmp_path: Path) -> None:
    checkout = origin.clone(tmp_path / "study", "--config", "core.autocrlf=true", "--config", "core.eol=crlf")
    listed = [line.split("\t") for line in checkout.run("git", "ls-files", "--eol").stdout.splitlines()]
    kinds = {name: kind.split()[:3] for kind, name in listed}  # committed, in the working tree, attribute
    binary = {name: kind for name, kind in kinds.items() if kind[0] == "i/-text"}
    assert {"models/binary.bnn", "models/full.safetensors", "reports/figures/loss.png"} <= binary.keys()
    assert {name: kind for name, kind in binary.items() if kind[1:] != ["w/-text", "attr/-text"]} == {}
    allowed = [["i/lf", "w/lf"], ["i/none", "w/none"]]
    assert {name: kind for name, kind in kinds.items() if name not in binary and kind[:2] not in allowed} == {}


def test_an_archive_without_a_repository_is_told_what_to_do(origin: Clone, drawing: Path, tmp_path: Path) -> None:
    checkout = unpacked(origin, tmp_path / "study")
    assert checkout.bnn("predict", str(drawing)).stdout.startswith("digit 7 ")
    done = checkout.bnn("repair", check=False)
    assert done.returncode == 1
    assert str(checkout.folder) in done.stderr
    assert "git init" in done.stderr
    assert len(done.stderr.splitlines()) == 1
