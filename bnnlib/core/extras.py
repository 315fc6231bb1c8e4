"""The packages of an extra, which a plain `pip install bnnlib` does not bring: their absence is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnnlib.core.errors import BnnError


class MissingExtraError(BnnError, ImportError):
    """A package is not installed, or broken; the message names the extra that has it."""


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Name the extra where an import inside finds no package, or a broken one; also a decorator.

    ``what`` is what needs it.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "bnnlib"} or isinstance(error, MissingExtraError):  # of our own, or named already
            raise
        missing = isinstance(error, ModuleNotFoundError)
        reason = "which is not installed" if missing else f"which cannot be imported ({error})"
        raise MissingExtraError(f"{what} needs {package}, {reason}: pip install 'bnnlib[{extra}]'") from error
