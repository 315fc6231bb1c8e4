"""How kernels are compiled by Numba."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba

from bnnlib.core import fingerprint

# Numba's own types do not describe what its decorators return.
Decorator = Callable[[Callable[..., Any]], Any]


def kernel(*parts: ModuleType) -> Decorator:
    """Compile a function for the types of its first call, without the interpreter's lock; cache it on disk if possible.

    ``parts``: the other modules whose code is compiled into it. Numba checks only the function's own file for changes,
    so a digest of theirs becomes part of its name in the cache. The cache is in NUMBA_CACHE_DIR if that is set, else in
    the package's __pycache__, else in the user's cache folder.
    """
    digest = fingerprint.of([inspect.getsource(part) for part in parts])

    def compiled(function: Callable[..., Any]) -> Any:
        function.__qualname__ += f"_{digest}"
        try:
            return numba.njit(nogil=True, cache=True)(function)
        except RuntimeError:  # none of the folders can be written
            return numba.njit(nogil=True)(function)

    return compiled
