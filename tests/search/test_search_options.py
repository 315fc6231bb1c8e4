"""Options and files that a search refuses before it trains or writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.clone import Bnn
from support.searches import OPTIONS, Site, site

from bnnlib.search.results import SearchError
from bnnlib.sweeps import worker


@pytest.fixture
def at(raw_dir: Path, bnn: Bnn) -> Site:
    """The folder in which the command runs."""
    found = site(Path.cwd(), raw_dir)
    (found.folder / "folder").mkdir()
    (found.folder / "notes.txt").write_text("notes\n")
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--bytes", "30"], "--bytes: 30 is not allowed; allowed: 40 to "),
        (["--bytes", "99999999"], "--bytes: 99999999 is not allowed; allowed: 40 to "),
        (["--bytes", "100", "--bits", "16"], "--bytes: 100 is not allowed; allowed: "),
        (
            ["--topology", "pears"],
            "the search's options: 1 error\n  --topology: model.topology: 'pears'",
        ),
        (["--topology", "flat"], "--topology: flat has no blocks"),
        (["--bits", "3", "--epochs", "0"], "the search's options: 2 errors\n  --bits: model.bits: 3 is not allowed"),
        (["--backend", "dask"], "--backend dask needs --scheduler ADDRESS"),
        (["--out", "folder"], "--out folder: a folder, expected a file"),
        (["--storage", "folder"], "--storage folder: a folder, expected a file"),
        (["--storage", "search.csv", "--out", "search.csv"], "--storage search.csv: it is the table, too"),
        (["--storage", "notes.txt"], "notes.txt: not the storage of a search, or damaged"),
        (["--data", "elsewhere"], "elsewhere/mnist.sha256: cannot be read"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(at: Site, bnn: Bnn, changes: list[str], message: str) -> None:
    before = content(at.folder)
    code, output, _ = bnn("search", *OPTIONS, "--out", "mine.csv", *changes)
    assert isinstance(code, str)
    assert message in code
    assert code.startswith("error: ")
    assert output == ""
    locks = {name for name in content(at.folder) if name.endswith(".lock")}
    assert {name: each for name, each in content(at.folder).items() if name not in locks} == before


@pytest.mark.parametrize("arguments", [["--bytes", "0"], ["--trials", "0"], ["--bytes", "many"]])
def test_wrong_numbers_are_wrong_usage(bnn: Bnn, arguments: list[str]) -> None:
    assert bnn("search", *arguments)[0] == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"limit": 91}, "bytes 90, not 91"),
        ({"epochs": 5}, "epochs 4, not 5"),
        ({"bits": 2, "limit": 180}, "bytes 90, not 180; bits 1, not 2; parameters "),
        ({"seed": 1}, r"\(parameters \w+, not \w+\)"),
        ({"topology": "two"}, "topology pair, not two; parameters "),
        ({"images": 300}, r"\(data \w+, not \w+\)"),
        ({"code": 1}, r"\(code \w+, not \w+\)"),
    ],
)
def test_the_storage_of_another_search_is_refused(
    at: Site, changes: dict[str, int], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.storage("s")
    before = at.places("s").storage.read_bytes()
    yaml, path = YAML(), at.folder / "params.yaml"
    parameters = yaml.load(path)
    parameters["seed"] = changes.pop("seed", parameters["seed"])
    parameters["data"]["limit"] = changes.pop("images", 200)
    yaml.dump(parameters, path)
    if changes.pop("code", 0):
        monkeypatch.setattr(worker, "code_fingerprint", lambda: "other")
    with pytest.raises(SearchError, match=rf"holds another search .*{named}.*; name other files with --storage"):
        at.perform("s", **changes)
    assert at.places("s").storage.read_bytes() == before


@pytest.mark.parametrize("text", ["dataset,topology\nmnist,pooled\n", "trial,state\n"])
def test_another_table_is_not_written_over(at: Site, text: str) -> None:
    at.places("s").out.write_text(text)
    with pytest.raises(SearchError, match=r"s\.csv: not the table of this search; name another file with --out"):
        at.perform("s")
    assert at.places("s").out.read_text() == text


def test_without_bytes_they_are_those_of_the_topology(at: Site) -> None:
    [planes], [first, second] = (2,), (2, 4)
    head = 10 * second * 3 * 3  # 28 - 5 + 1 = 24, pooled 8; 8 - 3 + 1 = 6, pooled 3
    weights = planes * first * 25 + first * second * 9 + head
    found = at.search(limit=None)
    assert found.limit == (weights + 7) // 8
    assert found.space.topology(found.space.start()) == found.space.origin
