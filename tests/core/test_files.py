"""Files are written whole or not at all, and damage is found when they are read."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnnlib.core import files
from bnnlib.core.files import FileError
from bnnlib.data import splits
from bnnlib.data.splits import Split


def split_of(count: int) -> Split:
    generator = np.random.default_rng(1)
    return Split(
        generator.integers(0, 256, (count, 28, 28), dtype=np.uint8), generator.integers(0, 10, count, dtype=np.uint8)
    )


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FileError, "No space .*; it needs 14 bytes, .* are free"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            FileError,
            "exceeded.; it needs 14 bytes; free space of",
        ),
        (OSError(errno.EIO, "Input/output error"), FileError, r"\(Input/output error\); check"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (MemoryError(), MemoryError, "^$"),
    ],
    ids=repr,
)
def test_a_failed_write_leaves_the_old_content_alone_and_a_later_one_succeeds(
    error: BaseException,
    expected: type[BaseException],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(descriptor: int) -> None:
        raise error

    path = tmp_path / "result"
    files.write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(expected, match=message) as caught:
            files.write_bytes(path, b"new and longer")
    assert expected is not FileError or str(caught.value).startswith(f"{path}: cannot be written (")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"result": b"old"}
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"cached")
    for name, target in (("link", "kept"), ("broken", "nowhere/at/all")):
        (tmp_path / name).symlink_to(target)
        files.write_bytes(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "kept").read_bytes() == b"cached"


def test_the_file_is_complete_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        seen.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    files.write_bytes(tmp_path / "result", b"new")
    assert seen == [{".result.tmp": b"new"}]


def test_the_leftover_of_a_killed_write_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".result.tmp").write_bytes(b"half of something longer")
    files.write_bytes(tmp_path / "result", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"result": b"new"}


def test_folders_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "ä\r\nb\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "ä\r\nb\n".encode()
    assert files.read_text(tmp_path / "a" / "b" / "c.txt") == "ä\r\nb\n"


ADVICE = "; `dvc repro` makes it"


@pytest.mark.parametrize(
    ("read", "advice"),
    [
        (files.read_bytes, "; check the name and the permissions"),
        (files.read_text, "; check the name and the permissions"),
        (files.read_json, ADVICE),
        (files.read_csv, ADVICE),
        (splits.read, ADVICE),
    ],
)
def test_a_missing_file_is_named_with_the_way_out_where_the_pipeline_makes_it(
    tmp_path: Path, read: Callable[[Path], object], advice: str
) -> None:
    with pytest.raises(FileError) as caught:
        read(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: cannot be read (No such file or directory){advice}"


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (files.read_text, b"\xff"),
        (files.read_json, b""),
        (files.read_json, b'{"a": 1'),
        (files.read_json, b"\xff\xff"),
        (files.read_csv, b""),
        (files.read_csv, b"a\n1,2\n3,4,5\n"),
        (files.read_csv, b"\xff\xfe\x00"),
        (splits.read, b""),
        (splits.read, b"PK\x03\x04"),
        (splits.read, b"not an archive"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, read: object, content: bytes) -> None:
    assert callable(read)
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_there_but_is_no_file_is_not_said_to_be_made_by_the_pipeline(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        files.read_json(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be read (Is a directory); ")
    assert "dvc repro" not in str(caught.value)


def test_sha256_of_the_standards_example(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@dataclasses.dataclass
class Point:
    y: float
    x: float


def test_json_keeps_order_and_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 0.1 + 0.2, "a": Point(2.0, 1.0)})
    assert path.read_text() == '{\n  "b": 0.30000000000000004,\n  "a": {\n    "y": 2.0,\n    "x": 1.0\n  }\n}\n'
    assert files.read_json(path) == {"b": 0.1 + 0.2, "a": {"y": 2.0, "x": 1.0}}


def test_json_refuses_what_json_cannot_express(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_csv_reads_back_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows: list[dict[str, object]] = [
        {"epoch": 1, "loss": 0.1 + 0.2, "flips": None},
        {"epoch": 2, "loss": 1 / 3, "flips": 0.5},
    ]
    files.write_csv(path, rows)
    assert path.read_text() == "epoch,loss,flips\n1,0.30000000000000004,\n2,0.3333333333333333,0.5\n"
    assert files.read_csv(path)["loss"].tolist() == [0.1 + 0.2, 1 / 3]
    files.write_csv(tmp_path / "b.csv", pd.DataFrame(rows))
    assert (tmp_path / "b.csv").read_bytes() == path.read_bytes()


def test_a_split_reads_back_and_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    split = split_of(5)
    for name in ("a.npz", "b.npz"):
        splits.write(tmp_path / name, split)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = splits.read(tmp_path / "a.npz")
    assert found.images.dtype == found.labels.dtype == np.uint8
    assert np.array_equal(found.images, split.images)
    assert np.array_equal(found.labels, split.labels)


def test_a_split_has_the_bytes_that_every_release_of_python_writes(tmp_path: Path) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    splits.write(tmp_path / "tiny.npz", Split(images, np.array([3, 7], np.uint8)))
    found = hashlib.sha256((tmp_path / "tiny.npz").read_bytes()).hexdigest()
    assert found == "5b18ebaadfdd4348a672a24b110e6006bbc222c7e75ff9a4a1dc95e2e4eda24f"


def flipped(content: bytes, position: int, mask: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= mask
    return bytes(damaged)


def test_a_flipped_byte_in_an_array_is_found(tmp_path: Path) -> None:
    split, path = split_of(20), tmp_path / "a.npz"
    splits.write(path, split)
    content = path.read_bytes()
    images, labels = content.index(split.images.tobytes()), content.index(split.labels.tobytes())
    for position in [*range(images, images + split.images.size, 61), *range(labels, labels + split.labels.size)]:
        path.write_bytes(flipped(content, position, 1 << position % 8))
        with pytest.raises(FileError) as caught:
            splits.read(path)
        assert str(caught.value).startswith(f"{path}: damaged")
        assert "dvc repro" in str(caught.value)


# One bit each, and all bits: changes digits of the shape to other digits, and flags of the archive to others.
@pytest.mark.parametrize("mask", [0x01, 0x02, 0x04, 0x08, 0x10, 0xFF])
def test_a_flipped_byte_anywhere_else_is_found_or_changes_nothing(tmp_path: Path, mask: int) -> None:
    # Large enough that an array whose shape has shrunk is not read to its end by chance.
    split, path = split_of(29), tmp_path / "a.npz"
    splits.write(path, split)
    content = path.read_bytes()
    start = content.index(split.images.tobytes())
    accepted, messages = {}, []
    for position in [*range(start), *range(start + split.images.size, len(content))]:
        path.write_bytes(flipped(content, position, mask))
        try:
            accepted[position] = splits.read(path)
        except FileError as error:
            messages.append(str(error))
    assert accepted  # the archive's dates, for example
    for position, found in accepted.items():
        assert np.array_equal(found.images, split.images), position
        assert np.array_equal(found.labels, split.labels), position
    assert messages
    assert all(message.startswith(f"{path}: ") for message in messages)


def test_a_truncated_split_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    splits.write(path, split_of(2))
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileError):
            splits.read(path)


def test_another_numpy_file_is_not_a_split(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, split_of(1).images)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises(FileError):
        splits.read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", pictures=split_of(1).images)
    with pytest.raises(FileError, match="images"):
        splits.read(tmp_path / "b.npz")
