"""The processes behind the runs: who logs, whether it still lives, and how it is stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
WATCH_S = 1.0
FORCED = re.compile("--force|-[isvqkpPR]*f[isvqkpPR]*")  # the letters of `dvc repro` that take no value
CLOCK_S = 60.0  # two times of one start differ when the clock is set, because it is the time of the boot plus ticks


class Stopped(BaseException):
    """A signal asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` inside the block at SIGTERM or SIGHUP, also when the DVC process above has died.

    After the block the process ends by the same signal, as it would have done without it.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    ours = {number: signal.signal(number, _raise) for number in STOPPING if signal.getsignal(number) == signal.SIG_DFL}
    dvc = dvc_process()
    if dvc is not None:
        threading.Thread(target=_end_with, args=[dvc], daemon=True).start()
    try:
        yield
    except Stopped as stopped:
        signal.signal(stopped.number, signal.SIG_DFL)
        os.kill(os.getpid(), stopped.number)
        raise
    finally:
        for number, before in ours.items():
            signal.signal(number, before)


def _raise(number: int, frame: FrameType | None) -> None:
    for each in STOPPING:  # one is enough: a second would end the tidying up
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def _end_with(process: psutil.Process) -> None:
    """End this process soon after the other: a killed DVC leaves its stages running."""
    while not _has_ended(process):
        time.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)


def dvc_process() -> psutil.Process | None:
    """The DVC process above this one, the same for all stages of one `dvc repro` or of one experiment."""
    with suppress(psutil.Error):  # one ends meanwhile, or belongs to another user
        for process in psutil.Process().parents():
            if _is_dvc([Path(word).name for word in process.cmdline()]):
                return process
    return None


def is_forced(dvc: psutil.Process) -> bool:
    """Whether its command has --force; not known of a queued experiment, which a worker runs."""
    with suppress(psutil.Error):
        return any(FORCED.fullmatch(word) for word in dvc.cmdline())
    return False


def _is_dvc(words: list[str]) -> bool:
    """Whether a command, its words without folders, is DVC: `dvc`, `python bin/dvc` or `python -m dvc`."""
    if words and words[0].startswith("python"):
        words = [word for word in words[1:] if not word.startswith("-")]
    return words[:1] in (["dvc"], ["dvc.exe"])


def identity(process: psutil.Process | None = None) -> str:
    """A process among those of all machines: host, number, time of its start in seconds; by default this one."""
    process = process or psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.2f}"


def is_same(identity: str, other: str) -> bool:
    """Whether two identities are those of one process."""
    (name, began), (other_name, other_began) = (each.rsplit(" ", 1) for each in (identity, other))
    return name == other_name and abs(float(began) - float(other_began)) <= CLOCK_S


def is_dead(process: str) -> bool:
    """Whether the process of this identity has ended; False for those of other machines, which only they know."""
    host, _, number = process.rpartition(" ")[0].rpartition(" ")
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        found = psutil.Process(int(number))
        return _has_ended(found) or not is_same(process, identity(found))
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):  # another user's, or not an identity
        return False


def _has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; one whose parent has not noticed is a zombie."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
