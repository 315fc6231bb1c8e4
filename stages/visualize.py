"""Draw the figures of the README. It shows images of the test set, and nothing is chosen by them."""

from __future__ import annotations

from pathlib import Path

from bnnlib import tracking
from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import mnist, splits
from bnnlib.nn import convnet, weights
from bnnlib.report import comparison, literature, mistakes
from bnnlib.report.figures import curves, frontier, pictures, style
from stages import DEFAULT_PARAMS, ParamsFile, run

WORST = 16  # images shown


def main(
    networks: Path,
    reports: Path,
    published: Path,
    test: Path,
    out: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Draw the networks in NETWORKS and the tables in REPORTS into OUT.

    PUBLISHED is the page with the table of published networks; TEST holds the images behind the predictions.
    """
    cfg = params.load(params_yaml)
    results = files.read_json(reports / "metrics.json")
    classes = mnist.CLASS_NAMES[cfg.data.name]
    names = {variant: style.name(variant, result["bits"]) for variant, result in results.items()}
    paths = {variant: networks / f"{variant}.safetensors" for variant in results}
    with tracking.open_run("visualize", {"data.name": cfg.data.name}, data=[*paths.values(), test]) as log:
        histories = {variant: files.read_csv(reports / f"history_{variant}.csv") for variant in results}
        figures = {metric: curves.curve(histories, names, metric) for metric in curves.AXES}
        for variant, name in names.items():
            matrix = files.read_csv(reports / f"confusion_{variant}.csv").drop(columns="label").to_numpy()
            figures[f"confusion_{variant}"] = pictures.confusion(matrix, f"{name}, test set", classes)
            kernels = convnet.first_kernels(weights.read(paths[variant]), pictures.KERNELS)
            for number, kernel in enumerate(kernels, start=1):
                figures[f"kernel_{variant}_{number}"] = pictures.kernel(kernel)
        sizes = files.read_json(reports / "sizes.json")
        others = literature.parse(files.read_text(published), str(published))
        points = comparison.points(results, sizes, names, comparison.swept(reports), others, cfg.data.name)
        figures["frontier"] = frontier.frontier(points)
        if results["binary"]["bits"] == 1:  # wider weights have no sign to flip
            figures["flips"] = curves.flips(histories["binary"])
        worst = mistakes.worst(files.read_csv(reports / "predictions.csv"), WORST)
        figures["mistakes"] = pictures.mistakes(splits.read(test).images, worst, classes)
        for name, figure in figures.items():
            files.write_bytes(out / f"{name}.png", style.png(figure))
        log.log_metrics(params.flatten(results))
        log.log_artifact(out)


if __name__ == "__main__":
    run(main)
