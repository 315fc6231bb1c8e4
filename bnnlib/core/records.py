"""Records: files that no stage makes again. A list beside them has their hashes, so that a change of one is found."""

from __future__ import annotations

from pathlib import Path

from bnnlib.core import files
from bnnlib.core.files import FileError

LIST = "records.sha256"  # `sha256sum --check` reads it too
RECORDS = ("benchmark*", "baseline_*")


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
    """What is wrong with a folder's records, those listed and those with the name of one: a line for each."""
    names = {path.name for pattern in RECORDS for path in folder.glob(pattern)} | _listed(folder / LIST).keys()
    wrong = []
    for name in sorted(names):
        try:
            check(folder / name)
        except FileError as error:
            wrong.append(str(error))
    return wrong


def _listed(place: Path) -> dict[str, str]:
    """The hashes by file name, none where there is no list."""
    return files.read_hashes(place) if place.exists() else {}
