"""The state of a training on disk after each epoch, from which the same training goes on after an interruption."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bnnlib.core import files
from bnnlib.core.files import FileError

SUFFIX = ".state"
KEPT = 20  # newest files in a folder


class Checkpoint:
    """A file with the newest state of one training, behind a digest of it.

    ``earlier_s``: the seconds of the parts of the training before this one. What cannot be written or read costs a
    warning: the training then starts, or would start, from the beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.earlier_s = 0.0
        self._began = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What `save` got last; None where there is no file, or a damaged one. Runs no code of the file."""
        if not self.path.exists():
            return None
        try:
            state = files.unsealed(files.read_bytes(self.path))
            if state is None:
                raise FileError(f"{self.path}: damaged")
        except FileError as error:
            print(f"warning: {error}: the training starts from the beginning", file=sys.stderr)
            return None
        found = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        self.earlier_s = found["seconds"]
        print(f"{self.path}: the training goes on from here", flush=True)
        return dict(found["state"])

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file by one with this state: tensors, numbers, text, lists and mappings of them."""
        buffer = io.BytesIO()
        torch.save({"seconds": self.seconds(), "state": dict(state)}, buffer)
        try:
            files.write_bytes(self.path, files.sealed(buffer.getvalue()))
        except FileError as error:
            print(f"warning: {error}: after an interruption the training would start again", file=sys.stderr)

    def seconds(self) -> float:
        """How long the training has taken, over all its parts."""
        return self.earlier_s + time.monotonic() - self._began

    def remove(self) -> None:
        """Remove the file, so that the training starts from the beginning."""
        self.path.unlink(missing_ok=True)


@contextmanager
def opened(folder: Path, name: str) -> Iterator[Checkpoint]:
    """The checkpoint of this name in a folder, for one process at a time: a second training of the same waits.

    Then it finds the state of the first. Of a folder's files the newest stay.
    """
    path = folder / f"{name}{SUFFIX}"
    lock = FileLock(path.with_suffix(".lock"))
    with suppress(OSError):  # nothing can be written there, which `save` tells
        folder.mkdir(parents=True, exist_ok=True)
        _remove_old(folder)
        _acquire(lock, path)
    try:
        yield Checkpoint(path)
    finally:
        lock.release()


def _remove_old(folder: Path) -> None:
    states = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    for old in states[:-KEPT]:
        old.unlink()
        old.with_suffix(".lock").unlink(missing_ok=True)


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{path}: waits for another process, which trains the same", flush=True)
        lock.acquire()
