"""A headless browser on the pages of `bnn ui`, what it finds there, and runs to look at."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import peers, tiny_sweeps
from support.clone import Checkout
from support.servers import free_port, served

if TYPE_CHECKING:
    from playwright.sync_api import HttpCredentials, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# A container has no sandbox and no GPU. Nothing is fetched from the web.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP box 127.0.0.1",  # another name of this machine
]
# What two clicks set (docs/mlflow.md): no assistant over a quarter of the page, and no pages about language models.
SETTLED = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')
localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"')
"""
PAGE_S = 30
CELLS = """rows => rows.flatMap(row => [...row.querySelectorAll('.ag-cell')].map(
    cell => [row.getAttribute('row-id'), cell.getAttribute('col-id') ?? '', cell.innerText]))"""
TABLES = "tables => tables.flatMap(table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText)))"
LINES = """charts => charts.flatMap(chart => chart.data.map(line => [
    chart.closest('[data-testid="experiment-view-compare-runs-card"]').innerText.split('\\n')[0],
    line.name ?? '', line.y.length]))"""


def log_runs(checkout: Checkout, experiments: Mapping[str, str], frozen: Sequence[str] = (), **parameters: str) -> None:
    """Log a `dvc repro`, experiments (name -> setting), and a sweep of one tiny training.

    ``frozen``: stages that are left out, with their outputs as they are.
    """
    checkout.set(full__batch_size="40", binary__batch_size="40", multibit__batch_size="40", **parameters)
    if frozen:
        checkout.run("dvc", "freeze", *frozen)
    checkout.commit()
    checkout.run("dvc", "repro")
    checkout.commit()
    for name, setting in experiments.items():
        checkout.run("dvc", "exp", "run", "--name", name, "--set-param", setting)
        checkout.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock", "models", "reports")
    tiny_sweeps.write_tiny_parameters(checkout.folder / "tiny.yaml")
    grid = "--bits 1 --seeds 0 --out tiny.csv --jobs 1 --params-yaml tiny.yaml"
    cache = str(checkout.folder / "cache")
    checkout.run("python", "-m", "bnnlib", "sweep", *grid.split(), BNN_CACHE_DIR=cache)


@contextmanager
def serve(checkout: Checkout, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`bnn ui` in a folder: its process, and what it printed before the pages were there."""
    port = free_port()
    command = ["python", "-m", "bnnlib", "ui", "--port", str(port), *options]
    log = checkout.folder.with_name(f"{checkout.folder.name}.log")
    with served(command, f"http://127.0.0.1:{port}/health", log, checkout.folder, checkout.environment) as server:
        yield server, log.read_text()


@contextmanager
def browse(width: int, height: int, credentials: HttpCredentials | None = None) -> Iterator[Page]:
    """A page in a browser with an empty profile. Without a browser the test is skipped, but fails on CI.

    ``credentials``: for a server that asks for them.
    """
    program = os.environ.get("BNN_BROWSER") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        peers.missing(
            f"no browser ({', '.join(PROGRAMS)} or $BNN_BROWSER), so MLflow's pages are not tested; "
            "try: apt install chromium"
        )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        peers.missing(f"playwright cannot be imported ({error}); try: pip install 'bnnlib[dev]'")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height}, http_credentials=credentials)
        page.add_init_script(SETTLED)
        page.set_default_timeout(PAGE_S * 1000)
        yield page
        browser.close()


def rows(page: Page) -> dict[str, dict[str, str]]:
    """The list of runs: the cells that have a value, by the name of the run and of the column."""
    page.locator(".ag-cell[col-id='params.`model.bits`']").first.wait_for()  # the view's columns are there
    found: dict[str, dict[str, str]] = {}
    for row, column, text in page.locator(".ag-row").evaluate_all(CELLS):
        if text != "-":
            found.setdefault(row, {})[re.sub(r"^\w+\.`(.*)`$", r"\1", column)] = text
    return {cells["Run Name"].splitlines()[-1]: cells for cells in found.values()}


def lines(page: Page, wanted: Mapping[str, set[str]]) -> dict[str, dict[str, int]]:
    """The charts: their lines by the run, with the number of points. Waits for those that are wanted."""
    deadline = time.monotonic() + PAGE_S
    while True:
        found: dict[str, dict[str, int]] = {}
        for chart, run, points in page.locator(".js-plotly-plot").evaluate_all(LINES):
            found.setdefault(chart, {})[run] = points
        if all(runs <= set(found.get(chart, ())) for chart, runs in wanted.items()) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def select(page: Page, *runs: str) -> None:
    """Tick runs in their list."""
    for run in runs:
        row = page.locator(".ag-pinned-left-cols-container .ag-row").filter(has_text=run)
        row.get_by_role("checkbox", name="Press Space").check()


def compare(page: Page) -> list[list[str]]:
    """Compare the runs that are selected: the rows of the tables, of the parameters those that differ."""
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Show diff only").first.click()
    return list(page.locator("table").evaluate_all(TABLES))
