"""Reading and writing files: whole or not at all, and the same bytes each time."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnlib.errors import BnnError
from bnnlib.mnist import Split

if TYPE_CHECKING:  # slow to import: a program that reads no table does without
    import pandas as pd


class FileError(BnnError):
    """A file is missing, damaged, or not what it should be."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed.

    The temporary name is fixed, so that a later attempt replaces what a killed one left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_bytes(path: Path) -> bytes:
    """The content of a file, or a `FileError` that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); `dvc repro` makes it") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with the line ends it has."""
    write_bytes(path, text.encode("utf-8"))


def read_text(path: Path) -> str:
    """UTF-8 text, or a `FileError` that names the file."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not UTF-8 text ({error})") from error


def write_json(path: Path, value: object) -> None:
    """Write JSON; dataclasses become objects, keys keep their order."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=dataclasses.asdict) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, or a `FileError` that names the file."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise FileError(f"{path}: not valid JSON ({error})") from error


def write_csv(path: Path, rows: Iterable[Mapping[str, object]] | pd.DataFrame) -> None:
    """Write a table with a header; floats in the shortest form that reads back the same."""
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table with a header."""
    import pandas as pd

    try:
        return pd.read_csv(io.BytesIO(read_bytes(path)))
    except ValueError as error:
        raise FileError(f"{path}: not a table ({error})") from error


def write_split(path: Path, split: Split) -> None:
    """Write images and labels as .npz: byte-stable, and a checksum (CRC-32) of each array inside.

    Not by NumPy's savez: it asks for ZIP64, which Python writes in one way up to 3.11.3 and in another one since.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in split._asdict().items():
            member = io.BytesIO()
            np.save(member, values)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    write_bytes(path, buffer.getvalue())


def read_split(path: Path) -> Split:
    """Read what `write_split` wrote; a damaged file gives a `FileError`."""
    content = read_bytes(path)
    try:
        # Whole members first: zipfile then compares the checksums before NumPy reads a word of them.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [archive.read(f"{name}.npy") for name in Split._fields]
        return Split(*(np.load(io.BytesIO(member), allow_pickle=False) for member in members))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, RuntimeError) as error:
        raise FileError(f"{path}: damaged ({error}); delete it and run `dvc repro`") from error
