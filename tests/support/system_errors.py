"""Surroundings that refuse: a user without a name, a home and rights; a small disk. By root and by anybody."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from support import peers
from support.paths import ROOT

USER = 12345  # no system knows it
# The first way needs a kernel that allows it to everybody, the second one needs root.
WAYS = (
    ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}"],
    ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"],
)
IS_STRANGER = f"""
import os, sys
assert os.getuid() == {USER} and not os.access(sys.argv[1], os.W_OK)
os.listdir(sys.argv[1])
"""
# Mounts, then runs the script in its own argument with the size and the folder as $0 and $1.
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && '
HOME = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that unknown users can reach, as pytest's are not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            lock(folder, False)


def unknown_user(locked: Path) -> list[str]:
    """How to run a command as a user without a name, who can read but not write the folder ``locked``."""
    way = next((way for way in WAYS if _succeeds([*way, sys.executable, "-c", IS_STRANGER, str(locked)])), None)
    if way is None:
        peers.missing("neither unshare --user nor setpriv gives a user without a name and rights, so none is tested")
    return way


@functools.cache
def small_disk() -> list[str]:
    """How to run a script of sh on a small disk: followed by size, folder and words, its $0, $1, ..."""
    way = [*SMALL_DISK, "sh", "-c"]
    if not _succeeds([*way, f"{MOUNT} true", "4k", str(ROOT)]):
        peers.missing("unshare --user --mount does not allow to mount a small disk, so a full one is not tested")
    return way


def of_unknown_user(environment: dict[str, str]) -> dict[str, str]:
    """The environment without a home and names."""
    return {name: value for name, value in environment.items() if name not in HOME}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = (Path(found) / name for found, _, names in os.walk(folder) for name in names)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def restore(folder: Path, before: dict[str, bytes]) -> None:
    """Bring a folder back to what `tree` found."""
    for path, content in tree(folder).items():
        if path not in before:
            (folder / path).unlink()
        elif content != before[path]:
            (folder / path).write_bytes(before[path])


def lock(folder: Path, locked: bool) -> None:
    """Take the right to write from a folder and all folders and files below it, or give it back."""
    for found, _, names in os.walk(folder):
        for path in (Path(found), *(Path(found) / name for name in names)):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222 if locked else path.stat().st_mode | 0o200)


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
