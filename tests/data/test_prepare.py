"""Prepared data: a worker of a sweep makes the same splits as the stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT

from bnnlib.config.params import Data
from bnnlib.data import mnist, prepare, sources, splits
from bnnlib.data.sources import Source, SourceError

MANIFEST = sources.read_manifest(ROOT / "data/mnist.sha256")
SMALL = Data(name="mnist", split_seed=0, validation_fraction=0.2, limit=300)


def cached(cache: Path, raw: Path, data: Data = SMALL) -> Path:
    return prepare.cached(cache, MANIFEST, data, [sources.folder(raw)])


def test_the_splits_are_those_of_the_raw_files(raw_dir: Path, parts: dict[str, splits.Split]) -> None:
    found = prepare.from_raw(raw_dir, MANIFEST, SMALL)
    assert tuple(found) == mnist.SPLITS
    assert {name: split.images.shape for name, split in found.items()} == {
        "train": (240, 28, 28),
        "validation": (60, 28, 28),
        "test": (300, 28, 28),
    }
    assert np.array_equal(found["test"].images, parts["test"].images[:300])
    both = np.concatenate([found["train"].labels, found["validation"].labels])
    assert np.array_equal(np.bincount(both), np.bincount(parts["development"].labels[:300]))


def test_written_splits_come_back(raw_dir: Path, tmp_path: Path) -> None:
    found = prepare.from_raw(raw_dir, MANIFEST, SMALL)
    assert not prepare.is_complete(tmp_path)
    prepare.write(tmp_path, found)
    assert prepare.is_complete(tmp_path)
    again = prepare.read(tmp_path)
    for name, split in found.items():
        assert np.array_equal(again[name].images, split.images)
        assert np.array_equal(again[name].labels, split.labels)


def test_the_cache_is_filled_once(raw_dir: Path, tmp_path: Path) -> None:
    folder = cached(tmp_path, raw_dir)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def refuse() -> None:
        pytest.fail("fetched again")

    assert prepare.cached(tmp_path, MANIFEST, SMALL, [Source("none", refuse)]) == folder  # type: ignore[arg-type]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_split_has_another_folder_and_needs_no_second_fetch(raw_dir: Path, tmp_path: Path) -> None:
    first = cached(tmp_path, raw_dir)
    nowhere = tmp_path / "nowhere"
    others = [
        cached(tmp_path, nowhere, SMALL.model_copy(update={"split_seed": 1})),
        cached(tmp_path, nowhere, data=SMALL.model_copy(update={"validation_fraction": 0.3})),
        cached(tmp_path, nowhere, data=SMALL.model_copy(update={"limit": 400})),
    ]
    assert len({first, *others}) == 4
    labels = [prepare.read(folder)["validation"].labels for folder in (first, *others)]
    assert [len(each) for each in labels] == [60, 60, 90, 80]
    assert not np.array_equal(labels[0], labels[1])


def test_an_incomplete_folder_is_completed(raw_dir: Path, tmp_path: Path) -> None:
    folder = cached(tmp_path, raw_dir)
    content = (folder / "test.npz").read_bytes()
    (folder / "test.npz").unlink()
    assert cached(tmp_path, raw_dir) == folder
    assert (folder / "test.npz").read_bytes() == content


def test_without_a_source_there_is_an_error_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no source has train-images"):
        cached(tmp_path / "cache", tmp_path / "nowhere")
    assert not any(path.is_dir() for path in (tmp_path / "cache").iterdir())
