"""Train one network and publish its best epoch."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from bnnlib.config import params, spec
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.tracking import models, processes
from bnnlib.tracking.run import open_run
from bnnlib.tracking.store import repository_root
from bnnlib.training import checkpoint, loop, progress
from bnnlib.training.checkpoint import Checkpoint
from bnnlib.training.loop import Epoch
from stages import DEFAULT_PARAMS, ParamsFile, run

CHECKPOINTS = ".dvc/tmp/trainings"  # of this machine, like the rest of what DVC keeps there


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
    with open_run(f"train_{variant}", loaded, used, data=[train, validation], system=True) as log:
        runtime.seed(cfg.seed)
        runtime.configure(cfg.runtime.threads, cfg.runtime.device)
        train_split, validation_split = splits.read(train), splits.read(validation)
        log.log_dataset(train, train_split, "train")
        log.log_dataset(validation, validation_split, "validation")
        kept = _checkpoint(cfg, {"train": files.sha256(train), "validation": files.sha256(validation)})
        epochs = []
        for epoch in progress.follow(loop.fit(train_split, validation_split, cfg, kept), cfg.recipe.epochs, variant):
            log.log_epoch(variant, epoch.row())
            epochs.append(epoch)
        best = loop.best(epochs)
        files.write_csv(history_out, [epoch.row() for epoch in epochs])
        weights.write(weights_out, best.published)
        scores = _scores(best)
        took = {"seconds": kept.seconds, "epoch_seconds": kept.seconds / len(epochs)}
        log.log_metrics({f"{variant}.{name}": value for name, value in {**scores, **took}.items()})
        log.log_artifact(history_out)
        log.log_artifact(weights_out)
        network, example = restore(best.published), validation_split.images[:2]
        models.register_network(log, f"bnn-{variant}", network, weights_out, example, scores)


def _checkpoint(cfg: spec.Training, data: dict[str, str]) -> Checkpoint:
    """Where an interrupted training goes on; a run by hand, or by `dvc repro --force`, starts anew."""
    dvc = processes.dvc_process()
    if dvc is None:
        return Checkpoint(None)
    root = repository_root(os.environ, Path.cwd())  # not the throw-away clone of an experiment
    kept = checkpoint.of(root / CHECKPOINTS, cfg, data)
    if processes.is_forced(dvc):
        kept.remove()
    return kept


def _scores(best: Epoch) -> dict[str, float]:
    """Those of the published epoch, under the names that `evaluate` has for them."""
    return {"epoch": best.epoch, **params.flatten(dataclasses.asdict(best.validation), "validation.")}


if __name__ == "__main__":
    run(main)
