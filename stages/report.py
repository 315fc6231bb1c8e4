"""Write the generated parts of README.md and of docs/."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.report import readme
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run

CARD = "models/README.md"
MODELS = ("bnn-full", "bnn-binary", "bnn-packed")  # as `train` and `pack` register them


def main(reports: Path, root: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Write what REPORTS holds between the markers of the pages below ROOT."""
    cfg = params.load(params_yaml)
    results = files.read_json(reports / "metrics.json")
    with open_run("report", {"data.name": cfg.data.name}, data=[reports / "metrics.json"]) as log:
        pages = readme.pages(root, reports, cfg.data.name)
        readme.write(pages)
        for path in pages:
            log.log_artifact(path)
        log.log_metrics(params.flatten(results))
        log.describe_models(MODELS, pages[root / CARD])


if __name__ == "__main__":
    run(main)
