"""Reading packed files from disk: every error names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import networks

from bnnlib.core.files import FileError
from bnnlib.packed import file
from bnnlib.packed import format as packed_format
from bnnlib.packed.file import PackedFileError


def test_a_model_is_read_back(tmp_path: Path) -> None:
    model, _ = networks.draw("whole words")
    path = tmp_path / "a.bnn"
    path.write_bytes(packed_format.encode(model))
    for found in (file.read(path), file.read_if_any(path)):
        assert found is not None
        assert packed_format.encode(found) == path.read_bytes()


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "a.bnn"
    path.touch()
    assert file.read_if_any(path) is None
    with pytest.raises(PackedFileError, match=rf"^{path}: is empty: .* model\.bits: 1"):
        file.read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.bnn", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(FileError, match=rf"^{path}: cannot be read \({reason}\); "):
            file.read_if_any(path)


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda content: content[:3], "magic"),
        (lambda content: content[:4] + b"\4" + content[5:], "version"),
        (lambda content: content[:-1], "length"),
        (lambda content: content + b"\0", "length"),
        (lambda content: content[:50] + b"~" + content[51:], "checksum"),
    ],
)
def test_a_damaged_file_is_named_with_its_field(spoil: Callable[[bytes], bytes], field: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bnn"
    path.write_bytes(spoil(networks.COMMITTED.read_bytes()))
    with pytest.raises(PackedFileError, match=rf"^{path}: packed model: {field}: "):
        file.read_if_any(path)
