"""Reading and writing files: whole or not at all, and the same bytes each time."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.core.errors import BnnError
from bnnlib.core.system import way_out

if TYPE_CHECKING:  # slow to import, and not every program reads tables
    import pandas as pd


REPRO = "; `dvc repro` makes it"  # for what the pipeline writes


class FileError(BnnError):
    """A file is missing, damaged, not what it should be, or cannot be written."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed. `FileError` where that fails.

    The temporary name is fixed, so that a later attempt replaces what a killed one left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FileError(_unwritable(path, len(content), error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _unwritable(path: Path, size: int, error: OSError) -> str:
    room = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        room = f"it needs {size:,} bytes; "
    if error.errno == errno.ENOSPC:
        folder = next(folder for folder in path.absolute().parents if folder.is_dir())
        room = f"it needs {size:,} bytes, {shutil.disk_usage(folder).free:,} are free there; "
    return f"{path}: cannot be written ({error.strerror}); {room}{way_out(error)}"


def read_bytes(path: Path, advice: str = "") -> bytes:
    """The content of a file, or a `FileError` that names it; it ends with the advice where there is no such file."""
    try:
        return path.read_bytes()
    except OSError as error:
        then = advice if advice and isinstance(error, FileNotFoundError) else f"; {way_out(error)}"
        raise FileError(f"{path}: cannot be read ({error.strerror}){then}") from error


def sealed(content: bytes, *about: str) -> bytes:
    """The content behind a SHA-256 of it, and of texts that say what it is."""
    return hashlib.sha256("".join(f"{each} " for each in about).encode() + content).digest() + content


def unsealed(content: bytes, *about: str) -> bytes | None:
    """What `sealed` got together with these texts; None where anything differs."""
    inner = content[hashlib.sha256().digest_size :]
    return inner if sealed(inner, *about) == content else None


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_hashes(path: Path) -> dict[str, str]:
    """A `sha256sum` list: file name -> SHA-256 in hexadecimal; `FileError` names the line that is none of it."""
    found = {}
    for number, line in enumerate(read_bytes(path).decode("ascii", "replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not re.fullmatch(r"\w[\w.-]*", name):
            raise FileError(f"{path}, line {number}: {line!r} is not '<SHA-256>  <file name>'")
        found[name] = digest
    return found


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8; line ends stay as they are."""
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
        return json.loads(read_bytes(path, REPRO))
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
        return pd.read_csv(io.BytesIO(read_bytes(path, REPRO)))
    except ValueError as error:
        raise FileError(f"{path}: not a table ({error})") from error
