"""Train one network and publish its best epoch."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import llvmlite.binding  # type: ignore[import-untyped]
import torch

from bnnlib import training
from bnnlib.config import params, spec
from bnnlib.core import checkpoint, files, fingerprint, runtime
from bnnlib.core.checkpoint import Checkpoint
from bnnlib.data import splits
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.tracking import models, processes
from bnnlib.tracking.run import open_run
from bnnlib.tracking.store import repository_root
from bnnlib.training import loop, progress
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
    name = _name(cfg, [train, validation])  # of what is read below, before anything can change
    with open_run(f"train_{variant}", loaded, used, data=[train, validation], system=True) as log, _kept(name) as kept:
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


def _name(cfg: spec.Training, data: Sequence[Path]) -> str:
    """The name of a training's checkpoint: another one where anything differs that may change the results.

    Beside parameters, data and code (not its comments) these are torch, and the kind of processor and device.
    """
    about = {
        "training": cfg.model_dump(),
        "data": [files.sha256(path) for path in data],
        "code": fingerprint.of_package(training.CODE),
        "torch": [torch.__version__, torch.backends.cpu.get_cpu_capability()],
        "processor": llvmlite.binding.get_host_cpu_name(),
        "device": torch.cuda.get_device_name() if cfg.runtime.device == "cuda" else "cpu",
    }
    return f"{cfg.variant}-{fingerprint.of(about)}"


@contextmanager
def _kept(name: str) -> Iterator[Checkpoint | None]:
    """Where an interrupted training goes on; `dvc repro --force` removes it first. None for a run by hand."""
    dvc = processes.dvc_process()
    if dvc is None:
        yield None
        return
    root = repository_root(os.environ, Path.cwd())  # not the throw-away clone of an experiment
    with checkpoint.opened(root / CHECKPOINTS, name) as kept:
        if processes.is_forced(dvc):
            kept.remove()
        yield kept


def _scores(best: Epoch) -> dict[str, float]:
    """Those of the published epoch, under the names that `evaluate` has for them."""
    return {"epoch": best.epoch, **params.flatten(dataclasses.asdict(best.validation), "validation.")}


if __name__ == "__main__":
    run(main)
