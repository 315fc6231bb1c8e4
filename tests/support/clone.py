"""Clones of the repository to run pipelines in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import ROOT

# Runs the command: exit code, output, errors.
Bnn = Callable[..., tuple[int | str | None, str, str]]


class Clone:
    """A repository of its own with the project's files as they are in the working tree, committed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.run("git", "init", "--quiet")
        self.commit()

    def run(self, *command: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, with ``extra`` environment variables; its output is in the failure's message."""
        done = subprocess.run(
            command, cwd=self.folder, env={**self.environment, **extra}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def commit(self) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")

    def set(self, **values: str) -> None:
        """Change parameters, written as section__name=value."""
        for name, value in values.items():
            section, _, key = name.partition("__")
            path = self.folder / "params.yaml"
            text = path.read_text(encoding="utf-8")
            changed = re.sub(rf"(?ms)(^{section}:.*?^  {key}: )\S+", rf"\g<1>{value}", text, count=1)
            assert changed != text, name
            path.write_text(changed, encoding="utf-8")

    def read(self, name: str) -> str:
        """Text of a file in the clone."""
        return (self.folder / name).read_text(encoding="utf-8")
