"""What many tests share: the real data, fetched once and checked, and clones of the repository to run pipelines in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from bnnlib import cli, files, mnist, sources

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Before torch is imported: let its threads sleep while they wait, here and in all processes that tests start.

    By default they spin, which several processes on few cores pay for with most of their time. No result changes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first, so that the others fill the time beside it where there are workers."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


@pytest.fixture(scope="session")
def raw_dir(pytestconfig: pytest.Config) -> Path:
    """The real MNIST files: those of data/raw, else fetched once into pytest's cache, by one worker at a time."""
    manifest = sources.read_manifest(ROOT / "data/mnist.sha256")
    kept = pytestconfig.cache.mkdir("mnist")
    with FileLock(kept / ".lock"):
        for name, content in sources.fetch(manifest, _nearest_first(kept)).items():
            files.write_bytes(kept / name, content)
    return kept


def _nearest_first(kept: Path) -> list[sources.Source]:
    named = os.environ.get("BNN_DATA_DIR")
    folders = [sources.folder(kept), sources.folder(ROOT / "data/raw")]
    return [*folders, *sources.all_sources("mnist", Path(named) if named else None)]


@pytest.fixture(scope="session")
def parts(raw_dir: Path) -> dict[str, mnist.Split]:
    """The 60,000 development images and the 10,000 test images."""
    read_only = {
        part: mnist.decode((raw_dir / images).read_bytes(), (raw_dir / labels).read_bytes(), part)
        for part, (images, labels) in mnist.PARTS.items()
    }
    return {part: mnist.Split(data.images.copy(), data.labels.copy()) for part, data in read_only.items()}


@pytest.fixture(scope="session")
def environment(raw_dir: Path) -> dict[str, str]:
    """An environment for child processes: this interpreter's commands, the data at hand, no settings of the caller."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "BNN_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    identity = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, **identity, "PATH": path, "BNN_DATA_DIR": str(raw_dir)}


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


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Callable[[str], Clone]:
    """Make a clone in a fresh folder."""
    return lambda name: Clone(tmp_path_factory.mktemp(name), environment)


Bnn = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def bnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bnn:
    """Run the command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["bnn", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return run
