"""Write the generated parts of README.md and of docs/; complete the log of the pipeline run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.core import files
from bnnlib.report import logged, note, readme, thresholds
from bnnlib.report.thresholds import ThresholdError
from bnnlib.tracking import models
from bnnlib.tracking.run import LAST_STAGE, RunLog, open_run
from stages import DEFAULT_PARAMS, ParamsFile, run

CARD = "models/README.md"
# As `train` and `pack` register them: name -> file in models/, and whose scores it has.
REGISTERED = {
    "bnn-full": ("full.safetensors", "full"),
    "bnn-binary": ("binary.safetensors", "binary"),
    "bnn-packed": ("binary.bnn", "binary"),
}


def main(reports: Path, networks: Path, root: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Write what REPORTS holds between the markers of the pages below ROOT; NETWORKS is the folder of the models."""
    cfg = params.load(params_yaml)
    with open_run(LAST_STAGE, cfg, {"data.name": cfg.data.name}, data=[reports / "metrics.json"]) as log:
        pages = readme.pages(root, reports, cfg.data.name, cfg.topologies)
        readme.write(pages)
        for path in pages:
            log.log_artifact(path, folder=path.relative_to(root).parent)
        metrics, sizes = files.read_json(reports / "metrics.json"), files.read_json(reports / "sizes.json")
        scores = logged.scores(metrics, sizes)
        for path in (reports / "metrics.json", reports / "figures", root / "dvc.lock"):
            log.log_artifact(path, above=True)
        histories = {variant: logged.history(reports, variant) for variant in metrics}
        log.complete(_stages(root), scores, histories, note.of_results(metrics, sizes))
        _describe(log, networks, scores, pages[root / CARD], _passes(reports, cfg))


def _stages(root: Path) -> list[str]:
    """The stages before this one."""
    graph = YAML(typ="safe", pure=True).load(files.read_text(root / "dvc.yaml"))["stages"]
    return [name for name, stage in graph.items() if name != LAST_STAGE and not stage.get("frozen")]


def _describe(log: RunLog, networks: Path, found: Mapping[str, float | None], card: str, passed: bool) -> None:
    """Give the registered versions of these networks their scores on the test set and the model card."""
    scores = {name: logged.of_network(variant, found) for name, (_, variant) in REGISTERED.items()}
    models.describe(log, {name: networks / file for name, (file, _) in REGISTERED.items()}, scores, card, passed)


def _passes(reports: Path, cfg: Params) -> bool:
    """Whether `bnn check` would pass, which makes these networks the champions."""
    try:
        return all(verdict.passed for verdict in thresholds.check(reports, cfg))
    except ThresholdError:  # a data set without bounds
        return False


if __name__ == "__main__":
    run(main)
