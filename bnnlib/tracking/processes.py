"""The processes behind the runs: who logs, whether it still lives, and how it is stopped."""

from __future__ import annotations

import os
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
CLOCK_S = 1.0  # the start of a process is the clock's at boot plus ticks, and the clock is set now and then


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
    while process.is_running():
        time.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)


def dvc_process() -> psutil.Process | None:
    """The DVC process above this one, the same for all stages of one `dvc repro` or of one experiment."""
    with suppress(psutil.Error):  # one ends meanwhile, or belongs to another user
        for process in psutil.Process().parents():
            words = [Path(word).name for word in process.cmdline()[:4]]
            if "dvc" in words or "dvc.exe" in words:
                return process
    return None


def identity(process: psutil.Process | None = None) -> str:
    """A process among those of all machines: host, number, time of its start in seconds; by default this one."""
    process = process or psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.2f}"


def is_dead(identity: str) -> bool:
    """Whether a process of this machine has ended; False for those of other machines, which only they know."""
    host, number, began = identity.rsplit(" ", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(number))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(began)) > CLOCK_S
    except psutil.NoSuchProcess:
        return True
