"""Draw the figures of the README. It shows images of the test set, and nothing is chosen by them."""

from __future__ import annotations

from pathlib import Path

from bnnlib import (
    anchors,
    evidence,
    files,
    mistakes,
    mnist,
    models,
    params,
    plots,
    plots_evidence,
    tracking,
    weights,
)
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
    names = {variant: plots.name(variant, result["bits"]) for variant, result in results.items()}
    paths = {variant: networks / f"{variant}.safetensors" for variant in results}
    with tracking.open_run("visualize", {"data.name": cfg.data.name}, data=[*paths.values(), test]) as log:
        histories = {variant: files.read_csv(reports / f"history_{variant}.csv") for variant in results}
        figures = {metric: plots.curve(histories, names, metric) for metric in plots.AXES}
        for variant, name in names.items():
            matrix = files.read_csv(reports / f"confusion_{variant}.csv").drop(columns="label").to_numpy()
            figures[f"confusion_{variant}"] = plots.confusion(matrix, f"{name}, test set", classes)
            kernels = models.first_kernels(weights.read(paths[variant]), plots.KERNELS)
            for number, kernel in enumerate(kernels, start=1):
                figures[f"kernel_{variant}_{number}"] = plots.kernel(kernel)
        sizes = files.read_json(reports / "sizes.json")
        others = anchors.parse(files.read_text(published), str(published))
        points = evidence.points(results, sizes, names, evidence.swept(reports), others, cfg.data.name)
        figures["frontier"] = plots_evidence.frontier(points)
        if results["binary"]["bits"] == 1:  # wider weights have no sign to flip
            figures["flips"] = plots_evidence.flips(histories["binary"])
        worst = mistakes.worst(files.read_csv(reports / "predictions.csv"), WORST)
        figures["mistakes"] = plots_evidence.mistakes(files.read_split(test).images, worst, classes)
        for name, figure in figures.items():
            files.write_bytes(out / f"{name}.png", plots.png(figure))
        log.log_metrics(params.flatten(results))
        log.log_artifact(out)


if __name__ == "__main__":
    run(main)
