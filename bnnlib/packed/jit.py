"""How kernels are compiled by Numba, and kept on disk."""

from __future__ import annotations

import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import caching, config, serialize

from bnnlib.core import files, fingerprint
from bnnlib.core.files import FileError

# Numba's own types do not describe what its decorators return.
Decorator = Callable[[Callable[..., Any]], Any]

# A pickle of compiled code may need the same versions when it is read.
VERSIONS = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__, np.__version__)
SMALLEST = "import numba; numba.njit(lambda: 0)()"


class Cache(caching.NullCache):
    """Compiled code on disk: a file for each signature, processor and set of versions.

    Numba's own cache trusts what it reads, and processes that write at the same time can swap the code of their
    processors. Here a file begins with a digest, and one that is damaged, swapped or of older sources counts as none.
    """

    def __init__(self, function: Callable[..., Any], parts: tuple[ModuleType, ...]) -> None:
        """`OSError` if the source code is not there, `RuntimeError` if no folder can be written."""
        self._code = caching.CompileResultCacheImpl(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        modules = (sys.modules[function.__module__], *parts)
        self.sources = fingerprint.of([inspect.getsource(module) for module in modules])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What `save_overload` wrote for a signature, else None: then Numba compiles, and calls `save_overload`."""
        target_context.refresh()  # knows the types that the code needs
        path = self._path(sig, target_context.codegen())
        try:
            code = files.unsealed(path.read_bytes(), path.name, self.sources)
        except OSError:
            return None
        if code is None:
            return None
        return self._code.rebuild(target_context, pickle.loads(code))  # noqa: S301 - as Numba's own cache does

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write compiled code, if the disk takes it."""
        if self._code.check_cachable(data):
            path, code = self._path(sig, data.codegen), serialize.dumps(self._code.reduce(data))
            with suppress(FileError):
                files.write_bytes(path, files.sealed(code, path.name, self.sources))

    def _path(self, sig: Any, codegen: Any) -> Path:
        key = fingerprint.of([repr(sig), codegen.magic_tuple(), VERSIONS])  # the tuple: the processor
        return Path(self._code.locator.get_cache_path()) / f"{self._name}.{key}.nbc"


def kernel(*parts: ModuleType) -> Decorator:
    """Compile a function for the types of its first call, without the interpreter's lock; cache it on disk if possible.

    ``parts``: the other modules whose code is compiled into it. The cache is in NUMBA_CACHE_DIR if that is set and can
    be written, else in the package's __pycache__, else in the user's cache folder.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(nogil=True)(function)
        with suppress(OSError, RuntimeError):
            dispatcher._cache = Cache(function, parts)
        return dispatcher

    return compiled


@functools.cache
def check() -> None:
    """`RuntimeError` if the user's settings of Numba let it compile nothing. Call it before the kernels are imported.

    LLVM ends the process on some names of processors and features, so given ones are tried in another process.
    """
    settings: Any = config  # names that are made at run time
    if settings.DISABLE_JIT:
        raise RuntimeError("its compiler is disabled")
    if settings.CPU_NAME is None and settings.CPU_FEATURES is None:
        return
    if subprocess.run([sys.executable, "-c", SMALLEST], capture_output=True, check=False).returncode:
        raise RuntimeError("LLVM cannot compile for the given processor")
