"""From raw files to the three splits, for the stage `preprocess` and for the workers of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bnnlib.core import files, fingerprint
from bnnlib.data import idx, mnist, sources, splits
from bnnlib.data.sources import Source
from bnnlib.data.splits import Split

if TYPE_CHECKING:  # the parameters are made of what lies here
    from bnnlib.config.params import Data


def from_raw(raw: Path, manifest: Mapping[str, str], data: Data) -> dict[str, Split]:
    """Check a folder of raw files against the manifest, decode and split them: by name the splits of `mnist.SPLITS`."""
    sources.verify(raw, manifest)
    parts = {}
    for part, names in mnist.PARTS.items():
        images, labels = (sources.read_raw(raw, name, manifest) for name in names)
        parts[part] = splits.limited(idx.decode(images, labels, part), data.limit)
    train, validation = splits.split(parts["development"], data.validation_fraction, data.split_seed)
    return {"train": train, "validation": validation, "test": parts["test"]}


def write(folder: Path, found: Mapping[str, Split]) -> None:
    """Write splits, each as NAME.npz."""
    for name, split in found.items():
        splits.write(folder / f"{name}.npz", split)


def read(folder: Path) -> dict[str, Split]:
    """Read the splits that `write` wrote."""
    return {name: splits.read(folder / f"{name}.npz") for name in mnist.SPLITS}


def is_complete(folder: Path) -> bool:
    """Whether all splits are there."""
    return all((folder / f"{name}.npz").is_file() for name in mnist.SPLITS)


def cached(cache: Path, manifest: Mapping[str, str], data: Data, places: Iterable[Source]) -> Path:
    """The folder of a cache with these splits; where they are not there yet, raw files are fetched and prepared.

    The name of the folder is a digest of all that its content depends on. One process works on it, others wait.
    """
    about = {"manifest": dict(manifest), "data": data.model_dump()}
    folder = cache / f"{data.name}-{fingerprint.of(about)}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not is_complete(folder):
            raw = cache / f"{data.name}-raw-{fingerprint.of(dict(manifest))}"
            for name, content in sources.fetch(manifest, [sources.folder(raw), *places]).items():
                files.write_bytes(raw / name, content)
            write(folder, from_raw(raw, manifest, data))
    return folder
