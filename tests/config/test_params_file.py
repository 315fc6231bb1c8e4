"""Reading params.yaml: numbers as people and DVC write them, and files that are not the parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.config.params import ParamsError
from bnnlib.core.files import FileError

COMMITTED = ROOT / "params.yaml"
RATE_LINE = "adam_rate: 0.01"  # the first is that of `full`


def written(folder: Path, old: str, new: str) -> Path:
    """The committed file with the first occurrence of a text replaced."""
    text = COMMITTED.read_text(encoding="utf-8")
    assert old in text
    path = folder / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_1e_06_is_a_number(tmp_path: Path) -> None:
    # PyYAML reads it as text, and `dvc exp run -S` writes it like this.
    loaded = params.load(written(tmp_path, RATE_LINE, "adam_rate: 1e-06"))
    assert params.flatten(loaded)["full.optimizer.adam_rate"] == 1e-6


def test_1e_06_in_quotes_is_text(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"full\.optimizer\.adam_rate: '1e-06' is not allowed.*without quotes"):
        params.load(written(tmp_path, RATE_LINE, "adam_rate: '1e-06'"))


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_what_yaml_writes_for_nan_and_infinity_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ParamsError, match=r"full\.optimizer\.adam_rate: -?(nan|inf) is not allowed"):
        params.load(written(tmp_path, RATE_LINE, f"adam_rate: {value}"))


NOT_YAML = {
    "open bracket": (b"seed: [1\n", "not valid YAML"),
    "tab": (b"train:\n\tepochs: 1\n", "not valid YAML"),
    "duplicate key": (b"seed: 1\nseed: 2\n", 'found duplicate key "seed"'),
    "duplicate key in a section": (b"full:\n  epochs: 1\n  epochs: 2\n", 'found duplicate key "epochs"'),
    "two documents": (b"seed: 1\n---\nseed: 2\n", "not valid YAML"),
    "tag": (b"seed: !!python/object:os.system 1\n", "not valid YAML"),
    "not UTF-8": (b"seed: \xff\n", "not valid YAML"),
    "control character": (b"seed: \x00\n", "not valid YAML"),
    "impossible date": (b"seed: 2001-99-99\n", "not valid YAML"),
    "tagged as a number": (b"seed: !!int abc\n", "not valid YAML"),
    "empty": (b"", "the file: None is not allowed"),
    "only a comment": (b"# nothing\n", "the file: None is not allowed"),
}


@pytest.mark.parametrize(("content", "message"), NOT_YAML.values(), ids=NOT_YAML)
def test_a_file_without_parameters_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="run from the repository's root"):
        params.load(tmp_path / "params.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=rf"^{tmp_path}: cannot be read \(Is a directory\); it is a folder"):
        params.load(tmp_path)
