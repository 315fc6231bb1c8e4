"""Copies and clones of the repository to run pipelines in."""

from __future__ import annotations

import functools
import operator
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.paths import ROOT

# Runs the command: exit code, output, errors.
Bnn = Callable[..., tuple[int | str | None, str, str]]


class Checkout:
    """A folder with the project's files, to run commands in."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def run(self, *command: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, with ``extra`` environment variables; its output is in the failure's message."""
        done = subprocess.run(
            command, cwd=self.folder, env={**self.environment, **extra}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def bnn(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command `bnn` with the folder's own code; the one on PATH is that of the project under test."""
        return self.run("python", "-m", "bnnlib", *arguments, check=check)

    def clone(self, folder: Path, *options: str) -> Checkout:
        """Clone the folder's repository with options of `git clone`."""
        self.run("git", "clone", "--quiet", *options, str(self.folder), str(folder))
        return Checkout(folder, self.environment)

    def commit(self) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")

    def set(self, **values: str) -> None:
        """Change parameters, written as section__name=value, or deeper; the value is YAML."""
        yaml, path = YAML(), self.folder / "params.yaml"
        content = yaml.load(path)
        for name, text in values.items():
            *sections, key = name.split("__")
            section, value = functools.reduce(operator.getitem, sections, content), YAML(typ="safe").load(text)
            assert section[key] != value, name
            section[key] = value
        yaml.dump(content, path)

    def read(self, name: str) -> str:
        """Text of a file in the folder."""
        return (self.folder / name).read_text(encoding="utf-8")


class Clone(Checkout):
    """A repository of its own with the project's files as they are in the working tree, committed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, environment)
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        # Through the new repository, because the project may lie in none: an unpacked archive.
        there = ["-C", str(ROOT), f"--git-dir={folder / '.git'}", f"--work-tree={ROOT}"]
        listed = self.run("git", *there, "ls-files", "--others", "--exclude-standard", "-z")
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.commit()

    def settle(self) -> None:
        """Fetch the data, and make dvc.lock and the pages agree with the files as they are; commit.

        What a test then sees depends on the clone alone, not on whether the project's own dvc.lock is up to date.
        """
        self.run("dvc", "repro", "preprocess")
        self.bnn("readme")
        self.run("dvc", "commit", "--force")
        self.commit()
