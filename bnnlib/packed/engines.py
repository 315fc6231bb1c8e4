"""Choose an engine: the fast one, or the reference if Numba is missing or fails."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed import reference
from bnnlib.packed.model import PackedModel


class EngineError(BnnError):
    """Numba, which the fast engine needs, cannot be imported or cannot compile."""


class Engine(Protocol):
    """What every engine can do. images: uint8 (n, side, side)."""

    model: PackedModel

    def dots(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The head's integer dot products, int32 (n, classes)."""

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (n, classes)."""


def fast(model: PackedModel, threads: int = 1) -> Engine:
    """The engine that works on packed words, compiled; `EngineError` if Numba cannot be imported or cannot compile."""
    with _failures():
        from bnnlib.packed import jit  # imports Numba, which is slow and may be missing

        jit.check()
        from bnnlib.packed.fast import Engine as FastEngine
    engine = FastEngine(model, threads)
    with _failures():
        engine.compile()
    return engine


@contextmanager
def _failures() -> Iterator[None]:
    """Around what only Numba does: it, LLVM and what they load raise errors of any kind."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise EngineError(f"the fast engine needs Numba, which fails ({_first_line(error)}); {_way_out()}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _way_out() -> str:
    given = ", ".join(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return "pip install --upgrade numba" + (f", or change {given}" if given else "")


def best(model: PackedModel, threads: int = 1) -> Engine:
    """The fast engine; if it raises `EngineError`, a warning and the reference: the same numbers, slower."""
    try:
        return fast(model, threads)
    except EngineError as error:
        warnings.warn(f"{error}. The reference engine runs instead: same results, far slower.", stacklevel=2)
        return reference.Engine(model)
