"""How kernels are compiled by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Numba's own types of these do not follow what it makes of the functions.
Decorator = Callable[[Callable[..., Any]], Any]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile for the types of the first call, without the interpreter's lock; keep it on disk where that is possible.

    Numba takes NUMBA_CACHE_DIR, else the package's __pycache__, else the user's cache.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # none of them can be written
        return numba.njit(nogil=True)(function)
