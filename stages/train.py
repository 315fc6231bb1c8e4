"""Train one network and publish its best epoch."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params, spec
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.tracking.run import open_run
from bnnlib.training import loop, progress
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(
    variant: spec.Variant,
    train: Path,
    validation: Path,
    weights_out: Path,
    history_out: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Train VARIANT on TRAIN, choose its epoch on VALIDATION; write its weights and its history."""
    loaded = params.load(params_yaml)
    cfg = loaded.training(variant)
    runtime.seed(cfg.seed)
    runtime.configure(cfg.runtime.threads, cfg.runtime.device)
    train_split, validation_split = splits.read(train), splits.read(validation)
    logged = {"model.topology": loaded.model.topology, **params.flatten(cfg)}
    with open_run(f"train_{variant}", logged, data=[train, validation]) as log:
        log.log_dataset(train, train_split, "train")
        log.log_dataset(validation, validation_split, "validation")
        epochs = []
        for epoch in progress.follow(loop.fit(train_split, validation_split, cfg), cfg.recipe.epochs, variant):
            log.log_metrics(epoch.row(), step=epoch.epoch)
            epochs.append(epoch)
        published = loop.best(epochs).published
        files.write_csv(history_out, [epoch.row() for epoch in epochs])
        weights.write(weights_out, published)
        log.log_artifact(history_out)
        log.log_artifact(weights_out)
        log.log_model(f"bnn-{variant}", restore(published), validation_split.images[:2])


if __name__ == "__main__":
    run(main)
