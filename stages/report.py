"""Write the generated parts of the README."""

from __future__ import annotations

from pathlib import Path

from bnnlib import tracking
from bnnlib.config import params
from bnnlib.core import files
from bnnlib.report import readme
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(reports: Path, page: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Write what REPORTS holds between the markers of PAGE."""
    cfg = params.load(params_yaml)
    results = files.read_json(reports / "metrics.json")
    with tracking.open_run("report", {"data.name": cfg.data.name}, data=[reports / "metrics.json"]) as log:
        files.write_text(page, readme.page(files.read_text(page), reports, str(page), cfg.data.name))
        log.log_metrics(params.flatten(results))
        log.log_artifact(page)


if __name__ == "__main__":
    run(main)
