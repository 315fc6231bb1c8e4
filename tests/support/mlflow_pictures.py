"""Make the pictures of docs/mlflow.md in a few minutes: `PYTHONPATH=tests python -m support.mlflow_pictures`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from support import browser
from support.clone import Clone
from support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = ROOT / "docs/assets/mlflow"
EXPERIMENTS = {
    "two-bits": "model.bits=2",
    "no-rotation": "binary.augmentation.mnist.rotation=0",
    "low-rate": "binary.optimizer.rate=0.01",
}
SMALL = {"data__limit": "6000", "full__epochs": "8", "binary__epochs": "8", "multibit__epochs": "8"}
WIDTH = 1280
COLORS = 128  # of a picture: a third of the bytes


def main() -> None:
    """Run a small study, serve it, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder), _environment())
        browser.log_runs(clone, EXPERIMENTS, **SMALL)
        with browser.serve(clone) as (_, printed), browser.browse(WIDTH, 800) as page:
            views = dict(re.findall(r"(?m)^(Results|Curves): +(\S+)$", printed))
            _take_pictures(page, views["Results"], views["Curves"])


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    identity = {f"GIT_{who}_{what}": "docs" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {"BNN_DATA_DIR": str(ROOT / "data/raw"), **kept, **identity, "PATH": path}


def _take_pictures(page: Page, results: str, curves: str) -> None:
    page.goto(results)
    browser.rows(page)
    _save(page, "results", height=600)
    browser.select(page, "two-bits", "low-rate")
    _save(page, "select", height=560)
    browser.compare(page)
    page.get_by_text("Run details").evaluate("heading => heading.scrollIntoView()")
    _save(page, "compare", height=700)
    page.goto(results)
    page.get_by_role("link", name="two-bits").click()
    page.get_by_text("Child runs", exact=True).wait_for()
    page.get_by_text("Show more").first.click()
    _save(page, "run", height=900)
    page.goto(curves)
    browser.lines(page, {"full.validation_loss": {*EXPERIMENTS}})
    _save(page, "curves", height=1000)


def _save(page: Page, name: str, height: int) -> None:
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(WIDTH / 2, 5)  # nothing there reacts to it
    page.wait_for_timeout(3000)  # for the ends of animations
    path = FOLDER / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
