"""How a program ends: what the system refuses is told in a line, and everybody has a home."""

from __future__ import annotations

import errno
import os
import pwd
import sys
from pathlib import Path

import pytest
import requests

from bnnlib.core.system import NO_HOME, as_line, program


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: No space left on device; free space there, .*"),
        (PermissionError(errno.EACCES, "Permission denied", b"a"), "a: Permission denied; check the permissions .*"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system; name a folder .*"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a", None, "b"), "a: Is a directory; it is a folder: .*"),
        (OSError(errno.EBADF, "Bad file descriptor", 3), "Bad file descriptor; check .*"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error; check .*"),
        (requests.ConnectionError("no\nroute"), "no route"),
        (OSError(), "OSError"),
    ],
    ids=repr,
)
def test_an_error_of_the_system_is_one_line_with_path_reason_and_way_out(error: OSError, message: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: {message}$") as caught, program():
        raise error
    assert str(caught.value) == f"error: {as_line(error)}"


def test_an_error_of_the_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), program():
        raise ZeroDivisionError


def test_a_user_without_a_home_gets_one_in_which_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = max(each.pw_uid for each in pwd.getpwall()) + 1
    monkeypatch.setenv("HOME", "")  # so that it is put back as it was
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: strange)
    with program():
        assert Path.home() == Path(NO_HOME)
    with pytest.raises(NotADirectoryError):
        (Path.home() / ".cache").mkdir()


def test_a_home_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with program():
        assert Path.home() == tmp_path


def test_without_standard_output_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with program():
        pass
