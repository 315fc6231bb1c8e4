"""What many tests share: the real data, fetched once and checked, and clones of the repository to run pipelines in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support.clone import Bnn, Clone
from support.paths import ROOT

from bnnlib import cli
from bnnlib.core import files
from bnnlib.data import idx, mnist, sources, splits


def pytest_configure() -> None:
    """Before torch is imported: let its threads sleep while they wait, here and in all processes that tests start.

    By default they spin, which takes most of the time where several processes share few cores. No result changes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest file first, so that other workers run the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


@pytest.fixture(scope="session")
def restore_torch() -> Callable[[], None]:
    """Sets back what `runtime.configure` changes in this process, to what it is before any test."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]

    def restore() -> None:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]

    return restore


@pytest.fixture(autouse=True)
def unchanged_torch(restore_torch: Callable[[], None]) -> Iterator[None]:
    """A test that trains or times in this process does not change the last bits of the next one's results."""
    yield
    restore_torch()


@pytest.fixture(scope="session")
def raw_dir(pytestconfig: pytest.Config) -> Path:
    """The real MNIST files: those of data/raw, or else fetched once into pytest's cache, by one worker at a time."""
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
def parts(raw_dir: Path) -> dict[str, splits.Split]:
    """The 60,000 development images and the 10,000 test images."""
    read_only = {
        part: idx.decode((raw_dir / images).read_bytes(), (raw_dir / labels).read_bytes(), part)
        for part, (images, labels) in mnist.PARTS.items()
    }
    return {part: splits.Split(data.images.copy(), data.labels.copy()) for part, data in read_only.items()}


@pytest.fixture(scope="session")
def environment(raw_dir: Path) -> dict[str, str]:
    """An environment for child processes: this interpreter's commands, the fetched data, no settings of the caller."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "BNN_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    identity = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, **identity, "PATH": path, "BNN_DATA_DIR": str(raw_dir)}


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Callable[[str], Clone]:
    """Make a clone in a new folder."""
    return lambda name: Clone(tmp_path_factory.mktemp(name), environment)


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
