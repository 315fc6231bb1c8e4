"""The tables on disk: the same bytes after reading and writing, and no half-stored run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.sweeps import moment, run

from bnnlib.core.files import FileError
from bnnlib.sweeps.tables import Tables

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


def test_a_run_in_only_one_file_does_not_count(path: Path) -> None:
    """A sweep killed between the two files leaves epochs without their run; a run without epochs is incomplete too."""
    table = path.read_text().splitlines(keepends=True)
    path.write_text("".join(table[:-1]))
    found = Tables(path)
    assert list(found.runs) == ["key0", "key1", "key2", "key3"]
    histories = found.histories.read_text().splitlines(keepends=True)
    found.histories.write_text("".join(line for line in histories if not line.startswith("key1,")))
    found = Tables(path)
    assert list(found.runs) == ["key0", "key2", "key3"]
    found.write()
    assert "key4" not in found.histories.read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("macro_f1", "f1", 1), "columns are ['dataset', 'topology', 'bits', 'surrogate'"),
        (lambda text: text.replace(",1,ste,2,", ",one,ste,2,"), "line 4: bits: 'one': "),
        (lambda text: text.replace(",6964,key1", ",6964"), "line 3: key: None: "),
        (lambda text: text.replace(",6964,key1", ",6964,key1,more"), "line 3: "),
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
