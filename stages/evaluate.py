"""Score both published networks, the 1-bit one packed. Only this and the sweep read the test set's labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bnnlib.config import params
from bnnlib.config.spec import Runtime
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.data.splits import Split
from bnnlib.nn import weights
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import restore
from bnnlib.packed import engines, passes
from bnnlib.packed.engines import Engine
from bnnlib.packed.file import read_if_any
from bnnlib.report import logged, tables
from bnnlib.report.tables import Passes, Result
from bnnlib.scoring import evaluation
from bnnlib.tracking.run import open_run
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
    paths = {"validation": validation, "test": test}
    with open_run("evaluate", cfg, params.flatten(cfg.runtime, "runtime."), data=[validation, test]) as log:
        runtime.configure(cfg.runtime.threads, cfg.runtime.device)
        held_out = {name: splits.read(path) for name, path in paths.items()}
        for name, path in paths.items():
            log.log_dataset(path, held_out[name], name)
        results = {
            "full": _result(full, None, held_out, cfg.runtime),
            "binary": _result(binary, packed, held_out, cfg.runtime),
        }
        for name, table in tables.tables(held_out["test"].labels, results).items():
            files.write_csv(out / name, table)
            log.log_artifact(out / name)
        for name, content in tables.objects(results).items():
            files.write_json(out / name, content)
            log.log_artifact(out / name)
        log.log_metrics(logged.scores(tables.metrics_object(results), tables.sizes_object(results)))


def _result(path: Path, packed: Path | None, held_out: Mapping[str, Split], settings: Runtime) -> Result:
    """Score a published network, in its packed form where there is one: ``packed`` names its file, perhaps empty."""
    published = weights.read(path)
    small = None if packed is None else read_if_any(packed)
    engine = None if small is None else engines.best(small, settings.threads)
    model = restore(published).to(settings.device)
    scores = {
        name: evaluation.score(_logits(model, engine, split, settings.device), torch.from_numpy(split.labels).long())
        for name, split in held_out.items()
    }
    return Result(
        passes=None if engine is None or len(engine.model.passes) == 1 else _passes(engine, held_out),
        bits=published.bits,
        epoch=published.epoch,
        weights=published.topology.weights,
        weight_bytes=published.topology.weight_bytes(published.bits),
        file_bytes=path.stat().st_size,
        packed_bytes=None if packed is None or engine is None else packed.stat().st_size,
        **scores,
    )


def _passes(engine: Engine, held_out: Mapping[str, Split]) -> Passes:
    """Scores of the mean of all passes."""
    count = len(engine.model.passes)
    logits = {name: torch.from_numpy(passes.logits(engine, split.images, count)) for name, split in held_out.items()}
    labels = {name: torch.from_numpy(split.labels).long() for name, split in held_out.items()}
    return Passes(count, **{name: evaluation.score(logits[name], labels[name]).scores for name in held_out})


def _logits(model: ConvNet, engine: Engine | None, split: Split, device: str) -> Tensor:
    """float32 (n, 10) on the CPU, by the engine of the packed network where there is one."""
    if engine is not None:
        return torch.from_numpy(engine.logits(split.images))
    images, _ = evaluation.tensors(split, device)
    return evaluation.logits(model, images).cpu()


if __name__ == "__main__":
    run(main)
