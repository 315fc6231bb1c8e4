"""Set up a process so that the same inputs give the same bytes: seeds, threads, deterministic kernels, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import random

import numpy as np
import torch

from bnnlib.core.errors import BnnError

# glibc's malloc.h. The largest block that the allocator may keep is 32 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BLOCK, KEEP_TOTAL = 32 << 20, 512 << 20


class DeviceError(BnnError):
    """The requested device is not available."""


def seed(value: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - the global state of libraries that read it
    torch.manual_seed(value)


def configure(threads: int, device: str) -> None:
    """Fix everything except the seed that changes the last bits of a result.

    The thread count can change the order of torch's sums, so the program sets it; OMP_NUM_THREADS does not matter.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("runtime.device: cuda, but torch sees no CUDA device; set it to cpu, or check the driver")
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch's deterministic mode asks for
    torch.use_deterministic_algorithms(True)
    # Deterministic mode also fills each fresh tensor, to make reads of uninitialised memory repeat; that doubles the
    # seconds per epoch and nothing here reads such memory (the tests compare runs byte by byte).
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks: returning 10 MB to the system in each layer costs more than the layer."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP_TOTAL)
