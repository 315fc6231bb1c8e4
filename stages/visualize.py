"""Draw the figures of the pages. They show images of the test set; nothing is chosen by these."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import mnist, splits
from bnnlib.data.mnist import DataName
from bnnlib.nn import weights
from bnnlib.nn.published import first_kernels
from bnnlib.report import comparison, costs, literature, mistakes
from bnnlib.report import robustness as bit_errors
from bnnlib.report.costs import Topologies
from bnnlib.report.figures import cost, curves, frontier, pictures, robustness, style
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Figures = dict[str, Figure]  # by file name

WORST = 16  # images shown

Results = Mapping[str, Any]  # of reports/metrics.json: by variant


def main(
    models: Path,
    reports: Path,
    literature_page: Path,
    test_images: Path,
    figures_folder: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Draw the networks in the folder MODELS and the tables in REPORTS into FIGURES_FOLDER.

    LITERATURE_PAGE has the table of other people's results; TEST_IMAGES is the split that the predictions are of.
    """
    cfg = params.load(params_yaml)
    data = cfg.data.name
    with open_run("visualize", cfg, {"data.name": data}, data=[reports / "metrics.json", test_images]) as log:
        results = files.read_json(reports / "metrics.json")
        networks = {variant: models / f"{variant}.safetensors" for variant in results}
        figures = {
            **_curves(reports, results),
            **_confusions(reports, results, data),
            **_kernels(networks),
            **_comparisons(reports, results, literature_page, data, cfg.topologies),
            "mistakes": _mistakes(reports, test_images, data),
            "robustness": robustness.robustness(bit_errors.summary(bit_errors.read(reports / bit_errors.TABLE))),
        }
        _replace(figures_folder, {f"{name}.png": style.png(figure) for name, figure in figures.items()})
        log.log_artifact(figures_folder)


def _replace(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write the pictures, then remove those of an earlier run, such as of another bit width."""
    for name, content in pictures.items():
        files.write_bytes(folder / name, content)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in pictures:
            path.unlink()


def _names(results: Results) -> dict[str, str]:
    return {variant: style.name(variant, result["bits"]) for variant, result in results.items()}


def _curves(reports: Path, results: Results) -> Figures:
    histories = {variant: files.read_csv(reports / f"history_{variant}.csv") for variant in results}
    figures = {metric: curves.curve(histories, _names(results), metric) for metric in curves.AXES}
    if results["binary"]["bits"] == 1:  # wider weights have no sign to flip
        figures["flips"] = curves.flips(histories["binary"])
    return figures


def _confusions(reports: Path, results: Results, data: DataName) -> Figures:
    figures = {}
    for variant, name in _names(results).items():
        matrix = files.read_csv(reports / f"confusion_{variant}.csv").drop(columns="label").to_numpy()
        figures[f"confusion_{variant}"] = pictures.confusion(matrix, f"{name}, test set", mnist.CLASS_NAMES[data])
    return figures


def _kernels(networks: Mapping[str, Path]) -> Figures:
    return {
        f"kernel_{variant}_{number}": pictures.kernel(kernel)
        for variant, path in networks.items()
        for number, kernel in enumerate(first_kernels(weights.read(path), pictures.KERNELS), start=1)
    }


def _comparisons(
    reports: Path, results: Results, literature_page: Path, data: DataName, topologies: Topologies
) -> Figures:
    """Score against size, beside the literature, and against operations and time."""
    sizes = files.read_json(reports / "sizes.json")
    others = literature.parse(files.read_text(literature_page), str(literature_page))
    images = len(files.read_csv(reports / "predictions.csv"))
    swept = comparison.swept(reports)
    networks = costs.networks(swept, data, topologies, costs.read(reports))
    return {
        "frontier": frontier.frontier(comparison.points(results, sizes, swept, others, data, images)),
        "cost": cost.cost(networks, images),
    }


def _mistakes(reports: Path, test_images: Path, data: DataName) -> Figure:
    worst = mistakes.worst(files.read_csv(reports / "predictions.csv"), WORST)
    return pictures.mistakes(splits.read(test_images).images, worst, mnist.CLASS_NAMES[data])


if __name__ == "__main__":
    run(main)
