"""Draw the figures of the README."""

from __future__ import annotations

from pathlib import Path

from bnnlib import files, mnist, models, params, plots, tracking, weights
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(networks: Path, reports: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Draw curves, confusion matrices and kernels of the networks in NETWORKS and the tables in REPORTS into OUT."""
    cfg = params.load(params_yaml)
    results = files.read_json(reports / "metrics.json")
    classes = mnist.CLASS_NAMES[cfg.data.name]
    names = {variant: plots.name(variant, result["bits"]) for variant, result in results.items()}
    paths = {variant: networks / f"{variant}.safetensors" for variant in results}
    with tracking.open_run("visualize", {"data.name": cfg.data.name}, data=list(paths.values())) as log:
        histories = {variant: files.read_csv(reports / f"history_{variant}.csv") for variant in results}
        figures = {metric: plots.curve(histories, names, metric) for metric in plots.AXES}
        for variant, name in names.items():
            matrix = files.read_csv(reports / f"confusion_{variant}.csv").drop(columns="label").to_numpy()
            figures[f"confusion_{variant}"] = plots.confusion(matrix, f"{name}, test set", classes)
            kernels = models.first_kernels(weights.read(paths[variant]), plots.KERNELS)
            for number, kernel in enumerate(kernels, start=1):
                figures[f"kernel_{variant}_{number}"] = plots.kernel(kernel)
        for name, figure in figures.items():
            files.write_bytes(out / f"{name}.png", plots.png(figure))
        log.log_metrics(params.flatten(results))
        log.log_artifact(out)


if __name__ == "__main__":
    run(main)
