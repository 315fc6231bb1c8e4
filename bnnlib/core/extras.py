"""The packages of an extra, which a plain `pip install bnnlib` does not bring: their absence is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnnlib.core.errors import BnnError


class MissingExtraError(BnnError, ImportError):
    """A package is not installed; the message names the extra that has it."""


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Name the extra where an import inside finds no package; also a decorator. ``what`` is what needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "bnnlib"}:  # an error of our own
            raise
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed: pip install 'bnnlib[{extra}]'"
        ) from error
