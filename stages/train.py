"""Train one network and publish its best epoch."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from bnnlib.config import params, spec
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.tracking import models
from bnnlib.tracking.run import open_run
from bnnlib.training import loop, progress
from bnnlib.training.loop import Epoch
from stages import DEFAULT_PARAMS, ParamsFile, checkpoints, run


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
    used = loaded.of_training(variant)
    name = checkpoints.name_of(cfg, [train, validation])  # of what is read below, before anything can change
    run_log = open_run(f"train_{variant}", loaded, used, data=[train, validation], system=True)
    with run_log as log, checkpoints.kept(name) as kept:
        runtime.seed(cfg.seed)
        runtime.configure(cfg.runtime.threads, cfg.runtime.device)
        train_split, validation_split = splits.read(train), splits.read(validation)
        log.log_dataset(train, train_split, "train")
        log.log_dataset(validation, validation_split, "validation")
        epochs, began = [], time.monotonic()
        fitting = loop.fit(train_split, validation_split, cfg, kept)
        for epoch in progress.follow(fitting, cfg.recipe.epochs, variant):
            log.log_epoch(variant, epoch.row())
            epochs.append(epoch)
        seconds = time.monotonic() - began if kept is None else kept.seconds()
        best = loop.best(epochs)
        files.write_csv(history_out, [epoch.row() for epoch in epochs])
        weights.write(weights_out, best.published)
        scores = _scores(best)
        took = {"seconds": seconds, "epoch_seconds": seconds / len(epochs)}
        log.log_metrics({f"{variant}.{score}": value for score, value in {**scores, **took}.items()})
        log.log_artifact(history_out)
        log.log_artifact(weights_out)
        network, example = restore(best.published), validation_split.images[:2]
        models.register_network(log, f"bnn-{variant}", network, weights_out, example, scores)


def _scores(best: Epoch) -> dict[str, float]:
    """Those of the published epoch, under the names that `evaluate` has for them."""
    return {"epoch": best.epoch, **params.flatten(dataclasses.asdict(best.validation), "validation.")}


if __name__ == "__main__":
    run(main)
