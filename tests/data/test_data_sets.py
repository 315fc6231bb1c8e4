"""The other data sets in MNIST's format: each has what it needs, and the pipeline follows data.name."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from support.clone import Clone
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import idx, mnist, prepare, sources, splits
from bnnlib.data.sources import SourceError
from bnnlib.data.splits import Split

NAMES = get_args(mnist.DataName)
IMAGES = {"development": 300, "test": 200}


def test_every_data_set_has_its_names_and_thresholds() -> None:
    assert set(mnist.CLASS_NAMES) == set(sources.TORCHVISION) == set(params.DataThresholds.model_fields) == set(NAMES)
    for names in mnist.CLASS_NAMES.values():
        assert len(set(names)) == mnist.CLASSES


def test_class_names_are_those_of_torchvision() -> None:
    from torchvision import datasets

    for name in ("fashion_mnist", "kmnist"):
        assert list(mnist.CLASS_NAMES[name]) == getattr(datasets, sources.TORCHVISION[name]).classes


@pytest.mark.parametrize("name", NAMES)
def test_its_manifest_names_the_four_files(name: str) -> None:
    manifest = sources.read_manifest(ROOT / f"data/{name}.sha256")
    assert {file.removesuffix(".gz") for file in manifest} == {file for part in mnist.PARTS.values() for file in part}
    assert len(set(manifest.values())) == 4


@pytest.mark.skipif(not sources.DEBIAN_FOLDER.is_dir(), reason=f"{sources.DEBIAN_PACKAGE} is not installed")
def test_debians_fashion_mnist_is_the_one_of_the_manifest() -> None:
    manifest = sources.read_manifest(ROOT / "data/fashion_mnist.sha256")
    found = sources.fetch(manifest, [sources.debian()])
    for part, count in {"development": 60_000, "test": 10_000}.items():
        images, labels = idx.decode(*(found[file] for file in mnist.PARTS[part]), part)
        assert images.shape == (count, 28, 28)
        assert np.bincount(labels).tolist() == [count // 10] * 10


def drawn(seed: int, count: int) -> Split:
    """Noise instead of images, the same number of each class."""
    random = np.random.default_rng(seed)
    return Split(random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10)


def compressed(data: Split) -> tuple[bytes, bytes]:
    """Images and labels as compressed IDX files."""
    images = struct.pack(">4I", 0x803, *data.images.shape) + data.images.tobytes()
    labels = struct.pack(">2I", 0x801, len(data.labels)) + data.labels.tobytes()
    return gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)


@pytest.fixture(scope="module")
def pieces() -> dict[str, Split]:
    return {part: drawn(seed, count) for seed, (part, count) in enumerate(IMAGES.items())}


@pytest.fixture(scope="module")
def clone(make_clone: Callable[[str], Clone], pieces: dict[str, Split]) -> Clone:
    """A clone in which KMNIST is noise: its four files are in a folder, and its manifest holds their checksums."""
    made = make_clone("data_sets")
    lines = []
    for part, data in pieces.items():
        for name, content in zip(mnist.PARTS[part], compressed(data), strict=True):
            files.write_bytes(made.folder.parent / "noise" / f"{name}.gz", content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}.gz\n")
    (made.folder / "data/kmnist.sha256").write_text("".join(lines))
    made.commit()
    return made


def test_an_experiment_with_another_data_set_takes_its_files(clone: Clone, pieces: dict[str, Split]) -> None:
    folder = str(clone.folder.parent / "noise")
    # No server answers there: creating a database for MLflow would take half of the time.
    extra = {"BNN_DATA_DIR": folder, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    clone.run("dvc", "exp", "run", "-S", "data.name=kmnist", "preprocess", **extra)
    lock = clone.read("dvc.lock")
    assert "cmd: python -m stages.download data/kmnist.sha256 data/raw" in lock
    assert "cmd: python -m stages.preprocess data/kmnist.sha256 data/raw data/processed" in lock
    held = {path.name for path in (clone.folder / "data/raw").iterdir()}
    assert held == set(sources.read_manifest(clone.folder / "data/kmnist.sha256"))
    read = {part: splits.read(clone.folder / f"data/processed/{part}.npz") for part in ("train", "test")}
    assert np.array_equal(read["test"].images, pieces["test"].images)
    assert np.array_equal(read["test"].labels, pieces["test"].labels)
    assert len(read["train"].labels) == IMAGES["development"] * 8 // 10


def test_a_damaged_compressed_file_is_named(clone: Clone, tmp_path: Path) -> None:
    manifest = clone.folder / "data/kmnist.sha256"
    for name in sources.read_manifest(manifest):
        content = (clone.folder.parent / "noise" / name).read_bytes()
        files.write_bytes(tmp_path / "raw" / name, content if "labels" in name else content[:-1] + b"!")
    data = params.load(ROOT / "params.yaml").data
    with pytest.raises(SourceError) as caught:
        prepare.from_raw(tmp_path / "raw", sources.read_manifest(manifest), data)
    assert str(caught.value).count(".gz: SHA-256 is ") == 2
    assert "train-images-idx3-ubyte.gz: SHA-256 is" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_follows_the_name(clone: Clone, name: str) -> None:
    clone.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock")
    if name != "mnist":
        clone.set(data__name=name)
    planned = clone.run("dvc", "repro", "--dry", "--force", "--allow-missing").stdout
    assert f"python -m stages.download data/{name}.sha256 data/raw\n" in planned
    assert f"python -m stages.preprocess data/{name}.sha256 data/raw data/processed\n" in planned
    others = [other for other in NAMES if other != name]
    assert not any(f"data/{other}.sha256" in planned for other in others)
