"""Reading a packed network from disk; every error names the file."""

from __future__ import annotations

import shlex
from pathlib import Path

from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.packed.format import FormatError, decode
from bnnlib.packed.model import PackedModel


class PackedFileError(BnnError):
    """A packed file is damaged or empty; the message names the file, and the wrong field."""


def read(path: Path) -> PackedModel:
    """Read a packed file; `FileError` if it cannot be read, `PackedFileError` if it is not a packed network."""
    model = read_if_any(path)
    if model is None:
        raise PackedFileError(
            f"{path}: is empty: only a 1-bit network is packed; train one with model.bits: 1, or take back the "
            f"committed one: git checkout {shlex.quote(str(path))}"
        )
    return model


def read_if_any(path: Path) -> PackedModel | None:
    """`read`, but None if the file is empty: the stage `pack` writes that for a network wider than one bit."""
    content = files.read_bytes(path)
    if not content:
        return None
    try:
        return decode(content)
    except FormatError as error:
        raise PackedFileError(f"{path}: {error}") from error
