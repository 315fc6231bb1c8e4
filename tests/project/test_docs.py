"""What the pages say can be done: their commands, parameters, code, links and paths exist, and the site builds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from dvc.utils import hydra
from support import pages
from support.clone import Bnn
from support.pages import Found
from support.paths import ROOT

import bnnlib
from bnnlib import cli
from bnnlib.config import params
from bnnlib.core import files

LONGEST_README = 130  # lines
QUICKSTART_BY = 40  # line
NEEDS_A_TRAINING = "models:/"  # code that reads MLflow's registry
OURS = re.compile(r"(?:bnnlib|stages|tests|docs|models|reports|data)/[\w./*-]+")
MADE = ("data/raw", "data/processed", "__pycache__")  # by the pipeline or by Python, so not in a fresh clone
BNN = typer.main.get_command(cli.build())


def test_the_readme_is_short_and_begins_with_its_two_commands() -> None:
    assert len(pages.README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README
    first = next(block for block in pages.blocks("sh") if block.page == pages.README)
    assert first.line < QUICKSTART_BY
    assert [line.partition("#")[0].strip() for line in first.text.splitlines()] == ["make repro", "make test"]


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    targets = re.findall(r"^([\w./]+):", makefile, re.MULTILINE)
    named = [words[-1] for _, words in pages.commands() if words[0] == "make"]
    named += [found.text.split()[-1] for found in pages.spans() if found.text.startswith("make ")]
    assert named
    assert set(named) <= set(targets)


@pytest.mark.parametrize("found", [pair for pair in pages.commands() if pair[1][0] == "bnn"], ids=lambda pair: pair[0])
def test_commands_of_bnn_are_accepted(found: tuple[Found, list[str]]) -> None:
    """Name, options and their values; nothing runs."""
    _, name, *arguments = found[1]
    _command(name).make_context(name, arguments)


def test_commands_and_options_of_bnn_named_in_the_text_exist() -> None:
    named = [found for found in pages.spans() if re.match(r"bnn \w", found.text)]
    assert named
    for found in named:
        _, name, *arguments = shlex.split(found.text)
        options = {option for parameter in _command(name).params for option in parameter.opts}
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= options, found


def _command(name: str) -> typer.core.TyperCommand:
    with BNN.make_context("bnn", [], resilient_parsing=True) as context:
        command = BNN.get_command(context, name)
    assert command is not None, name
    return command


def _settings() -> list[tuple[str, list[str]]]:
    """What the pages pass to -S, together for each command."""
    lines = [(str(found), words) for found, words in pages.commands() if words[:3] == ["dvc", "exp", "run"]]
    lines += [
        (str(found), shlex.split(found.text)) for found in pages.spans() if re.match(r"dvc exp run|-S ", found.text)
    ]
    given = [(place, [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-S"]) for place, words in lines]
    return [(place, settings) for place, settings in given if settings and "NAME" not in "".join(settings)]


@pytest.mark.parametrize(("place", "settings"), _settings())
def test_parameters_of_experiments_exist(place: str, settings: list[str], tmp_path: Path) -> None:
    """Each setting is applied by DVC's own functions; the result is a params.yaml that the stages accept."""
    for number, point in enumerate(hydra.get_hydra_sweeps({"params.yaml": settings})):
        path = tmp_path / f"params_{number}.yaml"
        path.write_bytes((ROOT / "params.yaml").read_bytes())
        hydra.apply_overrides(path, point["params.yaml"])
        params.load(path)


@pytest.mark.parametrize("block", pages.blocks("python"), ids=lambda block: f"{block.page.name}:{block.line}")
def test_python_runs(block: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code = compile(block.text, f"{block.page.name}:{block.line}", "exec")
    if NEEDS_A_TRAINING not in block.text:
        exec(code, {"__name__": "page"})  # noqa: S102, of our own pages


def test_the_readme_shows_what_predict_prints(bnn: Bnn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digit and the file; the probabilities are those of the network at that time."""
    monkeypatch.chdir(ROOT)
    [words] = [words for found, words in pages.commands() if found.page == pages.README and words[1] == "predict"]
    shown = [block for block in pages.blocks("text") if block.page == pages.README and "digit" in block.text]
    code, output, _ = bnn(*words[1:])
    assert code == 0
    ends = [[line.split()[:2], line.split()[-1]] for text in (output, shown[0].text) for line in text.splitlines()]
    assert ends[: len(ends) // 2] == ends[len(ends) // 2 :]


def test_the_page_on_the_api_lists_the_public_names() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`bnnlib\..*?) \|", text, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"bnnlib\.(\w+)", row)}
    assert listed == set(bnnlib.__all__)


def test_links_and_pictures_exist() -> None:
    named = pages.links()
    assert len(named) > 50
    for found in named:
        target = found.text.partition("#")[0]
        assert not target or (found.page.parent / target).exists(), found
        assert not target.startswith("/"), found


def test_paths_named_in_the_text_exist() -> None:
    named = [
        found
        for found in pages.spans()
        if OURS.fullmatch(found.text) and found.page.name != "literature.md"  # which names files of others
    ]
    assert len(named) > 20
    missing = [
        found for found in named if not any(ROOT.glob(found.text)) and not any(part in found.text for part in MADE)
    ]
    assert missing == []


class _Targets(HTMLParser):
    """The links and sources of a page of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with its warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in pages.PAGES:
        name = page.relative_to(ROOT).with_suffix("")
        name = name.parent if name.name == "README" else name
        assert (site / name / "index.html").is_file(), page


def test_links_of_the_site_lead_to_its_files(site: Path) -> None:
    checked = 0
    for page in site.rglob("index.html"):
        for target in _Targets(page.read_text(encoding="utf-8")).found:
            path = target.partition("#")[0].partition("?")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.relative_to(site)}: {target}"
                checked += 1
    assert checked > 500


def test_the_site_shows_the_results(site: Path) -> None:
    loss = files.read_json(ROOT / "reports/metrics.json")["binary"]["test"]["loss"]
    for name in ("index.html", "docs/results/index.html"):
        text = (site / name).read_text(encoding="utf-8")
        row = next(row for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL) if "binary.bnn</a>" in row)
        assert f">{loss:.4f}</td>" in row
        assert 'reports/figures/frontier.png"' in text
