"""The tables on disk: the same bytes after reading and writing, and no half-stored run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sweeps import moment, run

from bnnlib.core.files import FileError
from bnnlib.sweeps.tables import Tables, histories_of, read

# Floats that a fast parser reads wrong by one unit in the last place.
AWKWARD = (0.1 + 0.2, 1 / 3, 2.2250738585072014e-308, 1e-05, 0.98765432109876543)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of five runs in order, with two epochs each."""
    tables = Tables(tmp_path / "out/sweep.csv")
    for seed, value in enumerate(AWKWARD):
        key = f"key{seed}"
        tables.add(run(seed=seed, loss=value, key=key), [moment(key, 1), moment(key, 2)])
    return tables.path


def test_numbers_come_back_exactly(path: Path) -> None:
    found = Tables(path)
    assert [each.loss for each in found.runs.values()] == list(AWKWARD)
    before = path.read_bytes(), found.histories.read_bytes()
    found.write()
    assert (path.read_bytes(), found.histories.read_bytes()) == before


def test_the_order_in_which_runs_end_does_not_matter(path: Path, tmp_path: Path) -> None:
    other = Tables(tmp_path / "other.csv")
    for seed in (3, 0, 4, 2, 1):
        key = f"key{seed}"
        other.add(run(seed=seed, loss=AWKWARD[seed], key=key), [moment(key, 2), moment(key, 1)])
    assert other.path.read_bytes() == path.read_bytes()
    assert other.histories.read_bytes() == Tables(path).histories.read_bytes()


def test_a_flip_ratio_may_be_empty(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "sweep.csv")
    tables.add(run(key="a"), [moment("a", 1).model_copy(update={"flip_ratio": 0.25}), moment("a", 2)])
    first, second = tables.histories.read_text().splitlines()[1:]
    assert first.endswith(",0.25")
    assert second.endswith(",")
    before = tables.histories.read_bytes()
    Tables(tables.path).write()
    assert tables.histories.read_bytes() == before


def test_a_table_without_runs_has_its_columns(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "sweep.csv")
    tables.write()
    assert tables.path.read_text().startswith("dataset,topology,bits,surrogate,seed,epoch,macro_f1,loss,")
    assert tables.histories.read_text() == "key,epoch,train_loss,validation_loss,validation_macro_f1,flip_ratio\n"
    assert Tables(tables.path).runs == {}


def test_epochs_without_their_run_do_not_count(path: Path) -> None:
    """A sweep was killed between the two files."""
    table = path.read_text().splitlines(keepends=True)
    path.write_text("".join(table[:-1]))
    found = Tables(path)
    assert list(found.runs) == ["key0", "key1", "key2", "key3"]
    found.write()
    assert "key4" not in found.histories.read_text()


def test_a_run_without_its_epochs_is_named(path: Path) -> None:
    histories = histories_of(path)
    lines = histories.read_text().splitlines(keepends=True)
    histories.write_text("".join(line for line in lines if not line.startswith("key1,")))
    with pytest.raises(FileError, match=rf"^{path}, line 3: digest is '[0-9a-f]{{16}}', so this row, or its epochs"):
        Tables(path)


@pytest.mark.parametrize("place", [lambda path: path, histories_of])
def test_a_flipped_bit_anywhere_is_found(path: Path, place: Callable[[Path], Path]) -> None:
    file, written = place(path), read(path)
    content = file.read_bytes()
    passed = 0
    for at in range(0, len(content), 3):
        file.write_bytes(bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]]))
        try:
            assert read(path) == written  # as 2.2250738585072014e-308, which is also ...15e-308
            passed += 1
        except FileError as error:
            assert str(error).startswith(str(path.parent))  # noqa: PT017 it is one of two right ends
    assert passed <= len(AWKWARD)  # the last digit of a number, at most


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("macro_f1", "f1", 1), "columns are ['dataset', 'topology', 'bits', 'surrogate'"),
        (lambda text: text.replace(",1,ste,2,", ",one,ste,2,"), "line 4: bits: 'one': "),
        (lambda text: re.sub(",6964,key1,.*", ",6964", text), "line 3: key: None: "),
        (lambda text: re.sub("(,6964,key1,.*)", r"\1,more", text), "line 3: "),
        (lambda text: text.replace("0.3333333333333333", "nan"), "line 3: loss: 'nan': "),
        (lambda _: "", "columns are None"),
    ],
)
def test_a_damaged_table_is_named(path: Path, spoil: Callable[[str], str], message: str) -> None:
    text = path.read_text()
    path.write_text(spoil(text))
    assert path.read_text() != text
    with pytest.raises(FileError) as caught:
        Tables(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
