"""Share the images of a batch among threads, for compiled kernels that release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

_taken: list[int] = []  # threads that torch has given up for the time being


def share(kernel: Callable[..., Any], count: int, *arguments: Any) -> None:
    """Call ``kernel(start, stop, *arguments)`` on equal parts of ``count``, one for each thread.

    There are as many threads as torch has, or had before `taken_from_torch`.
    """
    available = _taken[-1] if _taken else torch.get_num_threads()
    if count == 0:
        return
    threads = min(available, count)
    edges = [count * part // threads for part in range(threads + 1)]
    others: list[Future[Any]] = []
    if threads > 1:
        pool = _pool(os.getpid(), available - 1, torch.get_num_threads())
        others = [pool.submit(kernel, start, stop, *arguments) for start, stop in pairwise(edges[1:])]
    try:
        kernel(edges[0], edges[1], *arguments)
    finally:
        wait(others)  # they write to the caller's arrays
    for other in others:
        other.result()


@contextmanager
def taken_from_torch() -> Iterator[None]:
    """Leave torch one thread and `share` all that it had.

    Torch's own threads wait for their next work by spinning, on the cores that those of `share` want.
    """
    before = torch.get_num_threads()
    _taken.append(before)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _taken.pop()
        torch.set_num_threads(before)


@lru_cache(maxsize=2)
def _pool(process: int, threads: int, threads_of_torch: int) -> ThreadPoolExecutor:
    """The threads of a process, for those of its parent do not survive a fork; torch sets each up when it meets it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")
