"""A data set in memory and on disk: images with their labels, and the split into training and validation."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.core.files import FileError


class SplitError(BnnError):
    """Too few images for a stratified split."""


class Split(NamedTuple):
    """Images, uint8 (n, 28, 28), and their labels, uint8 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def write(path: Path, split: Split) -> None:
    """Write images and labels as .npz: byte-stable, and a checksum (CRC-32) of each array inside.

    Not by NumPy's savez: it asks for ZIP64, which Python writes in one way up to 3.11.3 and in another one since.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in split._asdict().items():
            member = io.BytesIO()
            np.save(member, values)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    files.write_bytes(path, buffer.getvalue())


def read(path: Path) -> Split:
    """Read what `write` wrote; a damaged file gives a `FileError`."""
    content = files.read_bytes(path, files.REPRO)
    try:
        # Whole members first: zipfile then compares the checksums before NumPy reads a word of them.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [archive.read(f"{name}.npy") for name in Split._fields]
        return Split(*(np.load(io.BytesIO(member), allow_pickle=False) for member in members))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, RuntimeError) as error:
        raise FileError(f"{path}: damaged ({error}); delete it and run `dvc repro`") from error


def limited(data: Split, limit: int | None) -> Split:
    """The first ``limit`` images, or all of them."""
    return Split(data.images[:limit], data.labels[:limit])


def split(data: Split, validation_fraction: float, seed: int) -> tuple[Split, Split]:
    """Split into training and validation, stratified by class, each in the original order.

    `SplitError` where the images are too few to have every class on both sides.
    """
    from sklearn.model_selection import train_test_split  # slow to import, and only needed here

    indices = np.arange(len(data.labels))
    try:
        parts = train_test_split(indices, test_size=validation_fraction, random_state=seed, stratify=data.labels)
    except ValueError as error:  # scikit-learn names the numbers
        raise SplitError(
            f"{len(indices)} images cannot be split with data.validation_fraction {validation_fraction}: {error} "
            "Raise data.limit or data.validation_fraction."
        ) from error
    train, validation = (Split(data.images[rows], data.labels[rows]) for rows in map(np.sort, parts))
    return train, validation
