"""Records: files that no stage makes again. A list beside them has their hashes, so that a change of one is found."""

from __future__ import annotations

from pathlib import Path

from bnnlib.core import files
from bnnlib.core.files import FileError

LIST = "records.sha256"  # `sha256sum --check` reads it too


def note(path: Path) -> None:
    """Write the hash of this record, which has just been made, into the list of its folder."""
    place = path.with_name(LIST)
    known = {**_listed(place), path.name: files.sha256(path)}
    files.write_text(place, "".join(f"{digest}  {name}\n" for name, digest in sorted(known.items())))


def check(path: Path) -> None:
    """`FileError` where a record is not the one whose hash the list of its folder has."""
    place = path.with_name(LIST)
    expected = _listed(place).get(path.name)
    found = files.sha256(path)
    if found != expected:
        raise FileError(
            f"{path}: its SHA-256 is {found}, but {expected or 'none'} in {place}; restore both files, or make "
            "the record again"
        )


def check_all(folder: Path) -> list[str]:
    """Check all records of a folder that has any; their names."""
    names = list(_listed(folder / LIST))
    for name in names:
        check(folder / name)
    return names


def _listed(place: Path) -> dict[str, str]:
    """The hashes by file name, none where there is no list."""
    found: dict[str, str] = {}
    if not place.exists():
        return found
    for line in files.read_text(place).splitlines():
        digest, _, name = line.partition("  ")
        found[name] = digest
    return found
