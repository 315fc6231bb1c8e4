"""What the system refuses, a full disk say, in one line with the way out; and how each of our programs ends."""

from __future__ import annotations

import errno
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bnnlib.core.errors import BnnError

WAYS_OUT = {
    errno.ENOSPC: "free space there, then run the same command again",
    errno.EDQUOT: "free space of your quota, then run the same command again",
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`)",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check the permissions of it and of its folder, or name another"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of the path is no folder: move that away, or name another"),
    errno.EISDIR: "it is a folder: name a file, or move the folder away",
    errno.EROFS: "name a folder that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
}
NO_HOME = os.devnull  # below it nothing is found, and nothing can be written, by anybody


def way_out(error: OSError) -> str:
    """What the user can do about an error of the system."""
    return WAYS_OUT.get(error.errno or 0, "check the name and the permissions")


def as_line(error: OSError) -> str:
    """An error of the system in a line: its path where it has one, the reason, the way out."""
    if error.strerror is None:  # one that a library made up
        return " ".join(str(error).split()) or type(error).__name__
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror}; {way_out(error)}"


def user() -> str | None:
    """The name of the user; None where the system has none, as in containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # which of them depends on the version of Python and the system
        return None


@contextmanager
def program() -> Iterator[None]:
    """Around a whole program: an error that the user can correct ends it with `error: ...` and exit code 1.

    Also a decorator. What writes and reads files names them itself; what the system refuses elsewhere is said here.
    """
    _have_home()
    try:
        try:
            yield
        finally:
            _flush()
    except BnnError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {as_line(error)}")


def _have_home() -> None:
    """Give a user whom the system does not know, as in containers, a home: some libraries ask at their import."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = NO_HOME


def _flush() -> None:
    """Find here that standard output cannot be written: the interpreter ends with a traceback and another code."""
    try:
        print(end="", flush=True)  # nothing, also where standard output is closed
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for its last attempt
        raise OSError(error.errno, error.strerror, "standard output") from error
