"""Score both published networks, the 1-bit one packed. Only this and the sweep read the test set's labels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bnnlib import tracking
from bnnlib.config import params
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.data.splits import Split
from bnnlib.nn import convnet, weights
from bnnlib.nn.convnet import ConvNet
from bnnlib.packed import engines, file
from bnnlib.packed.engines import Engine
from bnnlib.report import tables
from bnnlib.scoring import evaluation
from bnnlib.scoring.evaluation import Evaluation
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(
    full: Path,
    binary: Path,
    packed: Path,
    validation: Path,
    test: Path,
    out: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Score the networks FULL and BINARY on VALIDATION and TEST; write metrics and tables into the folder OUT.

    PACKED is the packed form of BINARY, which is scored in its place; it is empty for a network wider than one bit.
    """
    cfg = params.load(params_yaml)
    runtime.configure(cfg.runtime.threads, cfg.runtime.device)
    held_out = {"validation": splits.read(validation), "test": splits.read(test)}
    small = file.read_if_any(packed)
    fast = None if small is None else engines.best(small, cfg.runtime.threads)
    with tracking.open_run("evaluate", params.flatten(cfg.runtime, "runtime."), data=[validation, test]) as log:
        for name, path in {"validation": validation, "test": test}.items():
            log.log_dataset(path, held_out[name], name)
        results = {}
        for variant, path, engine in (("full", full, None), ("binary", binary, fast)):
            published = weights.read(path)
            model = convnet.restore(published).to(cfg.runtime.device)
            logits = {name: _logits(model, engine, split, cfg.runtime.device) for name, split in held_out.items()}
            results[variant] = tables.Result(
                bits=published.bits,
                epoch=published.epoch,
                weights=published.topology.weights(published.bits),
                weight_bytes=published.topology.weight_bytes(published.bits),
                file_bytes=path.stat().st_size,
                packed_bytes=None if engine is None else packed.stat().st_size,
                **{name: _score(outputs, held_out[name]) for name, outputs in logits.items()},
            )
        for name, table in tables.tables(held_out["test"].labels, results).items():
            files.write_csv(out / name, table)
            log.log_artifact(out / name)
        for name, content in tables.objects(results).items():
            files.write_json(out / name, content)
            log.log_artifact(out / name)
        log.log_metrics(params.flatten(tables.metrics_object(results)))


def _logits(model: ConvNet, engine: Engine | None, split: Split, device: str) -> Tensor:
    """float32 (n, 10) on the CPU, by the engine of the packed network where there is one."""
    if engine is not None:
        return torch.from_numpy(engine.logits(split.images))
    images, _ = evaluation.tensors(split, device)
    return evaluation.logits(model, images).cpu()


def _score(logits: Tensor, split: Split) -> Evaluation:
    return evaluation.score(logits, torch.from_numpy(split.labels).long())


if __name__ == "__main__":
    run(main)
