"""The files for people and tools around the code agree with the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from ruamel.yaml import YAML
from support.clone import Checkout
from support.pages import LINK
from support.paths import ROOT

from bnnlib.report import readme

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CARD = "models/README.md"
MLFLOW_LIMIT = 5_000  # characters of a description in MLflow's databases


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def yaml(name: str) -> Any:
    return YAML(typ="safe").load(text(name))


def test_links_of_the_changelog_lead_somewhere() -> None:  # those of the other pages: test_docs
    links = [link for link in LINK.findall(text("CHANGELOG.md")) if not link.startswith("http")]
    assert len(links) > 0
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.fixture
def drawing(tmp_path: Path, environment: dict[str, str]) -> Checkout:
    """A folder with all that `dvc dag` reads, and the page."""
    checkout = Checkout(tmp_path, environment)
    checkout.run("dvc", "init", "--quiet", "--no-scm")
    for name in ("dvc.yaml", "params.yaml", "docs/graph.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return checkout


def test_the_picture_of_the_graph_is_that_of_dvc(drawing: Checkout) -> None:
    drawn = drawing.run("dvc", "dag", "--md").stdout
    assert "train_binary" in drawn
    assert text("docs/graph.md").endswith(f"\n\n{drawn}"), "CONTRIBUTING.md has the command that draws it again"


def test_the_command_that_draws_the_graph_again(drawing: Checkout) -> None:
    command = text("CONTRIBUTING.md").partition("picture of the graph: `")[2].partition("`.")[0]
    page = drawing.folder / "docs/graph.md"
    page.write_text(drawing.read("docs/graph.md").replace("train_binary", "old"), encoding="utf-8")
    drawing.run("bash", "-c", command)
    assert drawing.read("docs/graph.md") == text("docs/graph.md")


def test_the_card_is_a_generated_page_and_fits_into_mlflow() -> None:
    assert {"scores", "mistakes", "agreement"} <= readme.PAGES[CARD].keys()
    assert len(text(CARD)) <= MLFLOW_LIMIT


def test_the_card_names_every_published_file() -> None:
    named = set(re.findall(r"(?m)^\| \[[^]]+\]\(([^)]+)\)", text(CARD)))
    assert {f"models/{name}" for name in named} == {each["path"] for each in yaml("dvc.yaml")["artifacts"].values()}


def test_the_citation_is_of_this_version() -> None:
    citation, changes = yaml("CITATION.cff"), text("CHANGELOG.md")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert Version(PROJECT["version"]) >= Version(citation["version"])  # the newest release, or on the way to the next
    assert f"## [{citation['version']}] - {citation['date-released']}" in changes
    [owner] = re.findall(r"Copyright \(c\) \d+ (.+)", text("LICENSE"))
    assert citation["authors"] == [{"name": owner}]


def test_the_changelog_is_in_order() -> None:
    versions = re.findall(r"(?m)^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"))
    assert versions[0] == ("Unreleased", "")
    assert all(date for _, date in versions[1:])
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions[1:]]
    assert numbers == sorted(numbers, reverse=True)
    kinds = set(re.findall(r"(?m)^### (.+)$", text("CHANGELOG.md")))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_run_the_tools_of_the_environment_and_fetch_nothing() -> None:
    repositories = yaml(".pre-commit-config.yaml")["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    hooks = {hook["id"]: hook for hook in repositories[0]["hooks"]}
    tools = [hook for hook in hooks.values() if hook["language"] == "system"]
    assert {hook["language"] for hook in hooks.values()} == {"system", "pygrep"}
    checked = re.findall(r"(?m)^\t(ruff check|ruff format|mypy|lint-imports)\b", text("Makefile"))
    assert [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in tools] == checked


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("Add a surrogate gradient", False),
        ("x" * 72 + "\n\nBody, " + "x" * 100, False),
        ("Add it\n# Please enter the commit message", False),
        ("x" * 73, True),
        ("Add it\nand say no more", True),
    ],
)
def test_a_hook_refuses_long_subjects(message: str, refused: bool) -> None:
    [hook] = [each for each in yaml(".pre-commit-config.yaml")["repos"][0]["hooks"] if each["id"] == "subject"]
    assert hook["args"] == ["--multiline"]  # by which pygrep reads the whole file with these flags
    assert bool(re.search(hook["entry"], message, re.MULTILINE | re.DOTALL)) is refused


def test_the_container_makes_the_environment_that_make_uses() -> None:
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert re.match(r"python:3\.11(-|$)", container["image"])
    assert container["postCreateCommand"].endswith("make .venv/.ready")
    assert "\n$(VENV)/.ready:" in text("Makefile")
    assert container["remoteEnv"]["PATH"].split(":")[0].endswith("/.venv/bin")


def test_the_check_of_ci_needs_nothing_but_a_clone(tmp_path: Path) -> None:
    script = tmp_path / ".ci/run"
    script.parent.mkdir()
    script.write_text(text(".ci/run"), encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    done = subprocess.run(["bash", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert ".venv" in done.stderr
    assert (tmp_path / ".venv").exists()
