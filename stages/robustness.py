"""Measure what random bit errors in the stored networks do; a frozen stage, because it takes minutes."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.config.spec import Bits
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.data.splits import Split
from bnnlib.nn import weights
from bnnlib.nn.published import Published
from bnnlib.packed import file
from bnnlib.report import robustness
from bnnlib.robustness import measure, stored
from bnnlib.robustness.measure import Row
from bnnlib.tracking.run import open_run
from bnnlib.training import loop, progress
from stages import DEFAULT_PARAMS, ParamsFile, checkpoints, run

MIDDLE: Bits = 8  # of the network between the published ones; it is trained here
THREADS = 1  # of the measurement, torch's and the engine's


def main(
    full: Path,
    packed: Path,
    train: Path,
    validation: Path,
    out: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Measure the networks FULL and PACKED, and one of 8 bits, on VALIDATION; write a row for each draw to OUT.

    The one of 8 bits is trained on TRAIN, and its epoch chosen on VALIDATION, whose first images are the measured ones.
    """
    cfg = middle(params.load(params_yaml))
    data = [full, packed, train, validation]
    with open_run("robustness", cfg, cfg.of_training("binary"), data=data) as log:
        narrow, wide = stored.of_packed(file.read(packed)), stored.of_published(weights.read(full))
        train_split, held_out = splits.read(train), splits.read(validation)
        log.log_dataset(train, train_split, "train")
        log.log_dataset(validation, held_out, "validation")
        trained = stored.of_published(_trained(cfg, [train, validation], train_split, held_out))
        runtime.configure(THREADS, "cpu")
        rows: list[Row] = []
        for network in (narrow, trained, wide):
            print(f"robustness: flips bits of the network of {network.bits}", flush=True)
            rows += measure.measure(network, splits.limited(held_out, measure.IMAGES))
        files.write_csv(out, [row._asdict() for row in rows])
        log.log_artifact(out)
        log.log_metrics(robustness.metrics(robustness.read(out)), above=False)


def middle(cfg: Params) -> Params:
    """The parameters with which `train_binary` trains the network of 8 bits."""
    return cfg.model_copy(update={"model": cfg.model.model_copy(update={"bits": MIDDLE})})


def _trained(cfg: Params, paths: list[Path], train: Split, validation: Split) -> Published:
    """The best epoch of its training, which goes on after an interruption, and is not done again."""
    training = cfg.training("binary")
    with checkpoints.kept(checkpoints.name_of(training, paths)) as kept:
        runtime.seed(training.seed)
        runtime.configure(training.runtime.threads, training.runtime.device)
        fitting = loop.fit(train, validation, training, kept)
        epochs = progress.follow(fitting, training.recipe.epochs, f"{MIDDLE} bits")
        return loop.best(list(epochs)).published


if __name__ == "__main__":
    run(main)
