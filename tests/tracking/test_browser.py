"""MLflow's pages in a real browser: a person sees which experiment was best, and what it changed."""

from __future__ import annotations

import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
from mlflow.entities import Run
from support import browser
from support.clone import Clone
from support.pipelines import runs_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

EPOCHS = 2
# The experiments change what only the last stage reads. So no network is trained again, and their curves and scores are
# those that DVC restored. At 2 bits nothing is compiled for the packed network.
BITS = "2"
SLOW = ("agreement", "visualize")
PARAMETER = "thresholds.mnist.full.loss"
EXPERIMENTS = {"strict": "0.001", "lenient": "9.5"}
NETWORKS = ("binary", "full")
SCORES = [
    f"{network}.{score}" for network in NETWORKS for score in ("test.macro_f1", "validation.macro_f1", "test.loss")
]


class Pages(NamedTuple):
    """The served store: the process of `bnn ui`, what it printed, and the top-level runs by name."""

    clone: Clone
    server: subprocess.Popen[bytes]
    printed: str
    runs: dict[str, Run]

    def address(self, view: str) -> str:
        """The printed address of a view."""
        return re.findall(rf"(?m)^{view}: +(\S+)$", self.printed)[0]

    def pipelines(self) -> set[str]:
        """The names of the `dvc repro` and of the experiments."""
        return {name for name in self.runs if name in EXPERIMENTS or name.startswith("repro ")}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser.browse(width=2600, height=2600) as opened:  # all columns and charts, because others are not drawn
        yield opened


@pytest.fixture(scope="module")
def pages(page: Page, make_clone: Callable[[str], Clone]) -> Iterator[Pages]:
    """A small study, served; `page` comes first so that nothing is run where there is no browser."""
    clone = make_clone("pages")
    settings = {name: f"{PARAMETER}={value}" for name, value in EXPERIMENTS.items()}
    epochs = dict.fromkeys(("full__epochs", "multibit__epochs"), str(EPOCHS))
    browser.log_runs(clone, settings, frozen=SLOW, data__limit="400", model__bits=BITS, **epochs)
    with browser.serve(clone, "--allowed-hosts", "box") as (server, printed):
        top = [run for run in runs_of(clone) if "mlflow.parentRunId" not in run.data.tags]
        yield Pages(clone, server, printed, {run.info.run_name: run for run in top})


def test_the_list_has_the_scores_of_every_top_level_run(page: Page, pages: Pages) -> None:
    page.goto(pages.address("Results"))
    shown = browser.rows(page)
    assert set(shown) == set(pages.runs)
    page.get_by_text(re.compile(rf"^{len(shown)}\s*matching runs")).wait_for()  # those of stages are not loaded at all
    for name in pages.pipelines():
        metrics = pages.runs[name].data.metrics
        assert {score: float(shown[name][score]) for score in SCORES} == {score: metrics[score] for score in SCORES}
        changed = f"{PARAMETER}={EXPERIMENTS[name]}" if name in EXPERIMENTS else None
        assert (shown[name].get("changed"), shown[name]["model.bits"]) == (changed, BITS)
    [sweep] = set(shown) - pages.pipelines()
    assert 0 < float(shown[sweep]["sweep.best.test.macro_f1"]) < 1


def test_the_charts_have_a_line_for_each_pipeline_run(page: Page, pages: Pages) -> None:
    wanted = {
        f"{network}.{part}_{score}": pages.pipelines()
        for network in NETWORKS
        for part in ("validation", "train")
        for score in ("loss", "macro_f1")
    }
    page.goto(pages.address("Curves"))
    drawn = browser.lines(page, wanted)
    assert {chart: drawn.get(chart) for chart in wanted} == {
        chart: dict.fromkeys(runs, EPOCHS) for chart, runs in wanted.items()
    }
    assert {"binary.test.macro_f1", "full.test.macro_f1"} <= set(drawn)
    differing = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="Parameters that differ")
    differing.get_by_text(PARAMETER).wait_for()


def test_the_page_of_comparison_has_the_parameter_that_differs(page: Page, pages: Pages) -> None:
    page.goto(pages.address("Results"))
    browser.select(page, *EXPERIMENTS)
    compared = {row[0]: set(row[1:]) for row in browser.compare(page)}
    assert compared[PARAMETER] == set(EXPERIMENTS.values())
    assert "seed" not in compared
    page.get_by_role("link", name="binary.test.macro_f1").wait_for()


def test_the_views_are_in_the_menu(page: Page, pages: Pages) -> None:
    page.goto(pages.address("Results"))
    page.get_by_test_id("saved-views-trigger").click()
    for name in ("Results", "Curves"):
        page.get_by_role("menuitem", name=name).wait_for()


def test_the_pages_take_few_processes(pages: Pages) -> None:
    names = [child.name() for child in psutil.Process(pages.server.pid).children(recursive=True)]
    assert 1 <= len(names) <= 3, names  # MLflow's command, its server, one worker


def test_another_name_of_this_machine_shows_the_same_runs(page: Page, pages: Pages) -> None:
    page.goto(pages.address("Results").replace("127.0.0.1", "box"))
    assert set(browser.rows(page)) == set(pages.runs)


def test_a_server_is_named_without_its_password_and_opened(pages: Pages, tmp_path: Path) -> None:
    opened, program = tmp_path / "opened", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.tmp" && mv "{opened}.tmp" "{opened}"\n')
    program.chmod(stat.S_IRWXU)
    uri = pages.address("Results").partition("/#")[0].replace("http://", "http://user:secret@")
    done = pages.clone.run("python", "-m", "bnnlib", "ui", "--open", MLFLOW_TRACKING_URI=uri, BROWSER=str(program))
    assert "secret" not in done.stdout + done.stderr
    assert re.findall(r"(?m)^Results: +(\S+)$", done.stdout) == [pages.address("Results")]
    end = time.monotonic() + 30
    while not opened.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert opened.read_text() == pages.address("Results")
