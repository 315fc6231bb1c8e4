"""The fast engine: the images are shared among threads, and the compiled kernels run a model's plan on each share."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed import kernels
from bnnlib.packed import model as packed
from bnnlib.packed.model import PackedModel
from bnnlib.packed.reference import affine

# Images of one slice: fewer are not worth a thread, more would leave threads waiting for the last one.
SMALLEST_SLICE = 64
LARGEST_SLICE = 256


class ThreadsError(BnnError):
    """The number of threads is not allowed."""


class Engine:
    """Runs one model on ``threads`` threads. It may be called from several threads at a time."""

    def __init__(self, model: PackedModel, threads: int = 1) -> None:
        """`ModelError` if the model is inconsistent or too large, `ThreadsError` for less than one thread."""
        if threads < 1:
            raise ThreadsError(f"threads: {threads}, expected 1 or more")
        self.model = model
        self.threads = threads
        self._plan = kernels.plan(model)

    def compile(self) -> None:
        """Compile now what the first call would."""
        self.dots(np.empty((0, self.model.side, self.model.side), np.uint8))

    def dots(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The head's integer dot products, int32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
        packed.check_images(self.model, images)
        flat = np.ascontiguousarray(images).reshape(len(images), self.model.side**2)
        flat.flags.writeable = False  # like the arrays of files: Numba compiles separately for writable ones
        found = np.empty((len(images), len(self.model.head.weights)), np.int32)
        step = _slice_size(len(images), self.threads)
        if step >= len(images):
            self._run(flat, found)
        else:
            slices = [slice(start, start + step) for start in range(0, len(images), step)]
            _share(slices, lambda part: self._run(flat[part], found[part]), self.threads)
        return found

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
        return affine(self.model.head, self.dots(images))

    def _run(self, images: NDArray[np.uint8], found: NDArray[np.int32]) -> None:
        kernels.run(images, self._plan, np.empty(self._plan.size, np.uint32), found)


def _share(slices: list[slice], work: Callable[[slice], None], threads: int) -> None:
    """Do the work on two or more slices, on as many threads; the calling thread is one of them."""
    waiting = iter(slices)  # every thread takes its next slice here

    def take() -> None:
        for part in waiting:
            work(part)

    others = min(threads, len(slices)) - 1
    with ThreadPoolExecutor(others) as pool:  # one for each call: the threads of a kept pool do not survive a fork
        taken = [pool.submit(take) for _ in range(others)]
        take()
    for future in taken:
        future.result()


def _slice_size(images: int, threads: int) -> int:
    """Images of one slice: all on one thread, else equal shares of the threads, in several rounds if they are many."""
    if threads == 1:
        return images
    rounds = math.ceil(images / (threads * LARGEST_SLICE))
    return max(math.ceil(images / (threads * max(rounds, 1))), SMALLEST_SLICE)
