"""A lock on a file that several processes write; the system frees it when its process ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bnnlib.core.files import FileError

LOCK_S = 60  # writing takes milliseconds


class Lock:
    """The lock of a file, itself a hidden file beside it. A process that holds it may take it again."""

    def __init__(self, of: Path) -> None:
        self.of = of
        self.path = of.with_name(f".{of.name}.lock")
        self._lock = FileLock(self.path)

    def acquire(self) -> bool:
        """Take it; `FileError` where another process holds it for long, or it cannot be taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=LOCK_S)
        except Timeout as error:
            raise FileError(
                f"{self.path}: another process has held this lock of {self.of} for {LOCK_S} s; end that process "
                f"(`fuser {self.path}` finds it), and give the same command again: it continues with what is stored"
            ) from error
        except OSError as error:
            raise FileError(f"{self.path}: cannot be locked ({error.strerror}); it guards {self.of}") from error
        return True

    def release(self) -> None:
        """Let others take it."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()
