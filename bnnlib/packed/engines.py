"""Choose an engine: the fast one, or the reference if Numba is missing."""

from __future__ import annotations

import warnings
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed import reference
from bnnlib.packed.model import PackedModel


class EngineError(BnnError):
    """Numba, which the fast engine needs, cannot be imported."""


class Engine(Protocol):
    """What every engine can do. images: uint8 (n, side, side)."""

    def dots(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The head's integer dot products, int32 (n, classes)."""

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (n, classes)."""


def fast(model: PackedModel, threads: int = 1) -> Engine:
    """The engine that works on packed words; `EngineError` if Numba cannot be imported."""
    try:
        from bnnlib.packed.fast import Engine as FastEngine  # imports Numba, which is slow and may be missing
    except ImportError as error:
        raise EngineError(
            f"the fast engine needs Numba, which cannot be imported ({error}); pip install numba"
        ) from error
    return FastEngine(model, threads)


def best(model: PackedModel, threads: int = 1) -> Engine:
    """The fast engine; if Numba cannot be imported, a warning and the reference: the same numbers, slower."""
    try:
        return fast(model, threads)
    except EngineError as error:
        warnings.warn(f"{error}. The reference engine runs instead: same results, far slower.", stacklevel=2)
        return reference.Engine(model)
