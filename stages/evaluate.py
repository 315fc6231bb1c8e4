"""Score both published networks. Beside the frozen sweep the only stage that reads the test set."""

from __future__ import annotations

from pathlib import Path

from bnnlib import files, models, params, reports, runtime, tracking, weights
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(
    full: Path, binary: Path, validation: Path, test: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS
) -> None:
    """Score the networks FULL and BINARY on VALIDATION and TEST; write metrics and tables into the folder OUT."""
    cfg = params.load(params_yaml)
    runtime.configure(cfg.runtime.threads, cfg.runtime.device)
    splits = {"validation": files.read_split(validation), "test": files.read_split(test)}
    with tracking.open_run("evaluate", params.flatten(cfg.runtime, "runtime."), data=[validation, test]) as log:
        for name, path in {"validation": validation, "test": test}.items():
            log.log_dataset(path, splits[name], name)
        results = {}
        for variant, path in {"full": full, "binary": binary}.items():
            published = weights.read(path)
            model = models.restore(published).to(cfg.runtime.device)
            results[variant] = reports.Result(
                bits=published.bits,
                epoch=published.epoch,
                weights=models.weight_count(model),
                weight_bytes=models.weight_bytes(model),
                file_bytes=path.stat().st_size,
                **reports.held_out(model, splits, cfg.runtime.device),
            )
        for name, table in reports.tables(splits["test"].labels, results).items():
            files.write_csv(out / name, table)
            log.log_artifact(out / name)
        for name, content in reports.objects(results).items():
            files.write_json(out / name, content)
            log.log_artifact(out / name)
        log.log_metrics(params.flatten(reports.metrics_object(results)))


if __name__ == "__main__":
    run(main)
