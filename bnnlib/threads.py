"""Share the images of a batch among threads, for compiled kernels that release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch


def share(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call ``kernel(start, stop, *arguments)`` on equal parts of ``count``, one for each of torch's threads."""
    threads = min(torch.get_num_threads(), count)
    edges = [count * part // threads for part in range(threads + 1)]
    others = []
    if threads > 1:
        pool = _pool(os.getpid(), torch.get_num_threads() - 1)
        others = [pool.submit(kernel, start, stop, *arguments) for start, stop in pairwise(edges[1:])]
    kernel(edges[0], edges[1], *arguments)
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of a process: those of its parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")
