"""The packed network on disk: bytes in, model out, and every fault with the file's name."""

from __future__ import annotations

from pathlib import Path

from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.packed.format import FormatError, decode
from bnnlib.packed.model import PackedModel


class PackedFileError(BnnError):
    """A packed file that is damaged or empty; the message names it and the faulty field."""


def read(path: Path) -> PackedModel:
    """Read a packed file; `PackedFileError` for anything else, `FileError` where it cannot be read."""
    model = read_if_any(path)
    if model is None:
        raise PackedFileError(
            f"{path}: is empty: only a 1-bit network is packed; `dvc repro export` writes one with model.bits: 1"
        )
    return model


def read_if_any(path: Path) -> PackedModel | None:
    """Read the file that the stage `export` wrote: None where it is empty, for a network wider than one bit."""
    content = files.read_bytes(path)
    if not content:
        return None
    try:
        return decode(content)
    except FormatError as error:
        raise PackedFileError(f"{path}: {error}") from error
