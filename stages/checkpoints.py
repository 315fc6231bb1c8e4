"""Where an interrupted training of a stage goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import llvmlite.binding  # type: ignore[import-untyped]
import torch

from bnnlib import training
from bnnlib.config import spec
from bnnlib.core import checkpoint, files, fingerprint
from bnnlib.core.checkpoint import Checkpoint
from bnnlib.tracking import processes
from bnnlib.tracking.store import repository_root

FOLDER = ".dvc/tmp/trainings"  # of this machine, like the rest of what DVC keeps there


def name_of(cfg: spec.Training, data: Sequence[Path]) -> str:
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
def kept(name: str) -> Iterator[Checkpoint | None]:
    """Where an interrupted training goes on; `dvc repro --force` removes it first. None for a run by hand."""
    dvc = processes.dvc_process()
    if dvc is None:
        yield None
        return
    root = repository_root(os.environ, Path.cwd())  # not the throw-away clone of an experiment
    with checkpoint.opened(root / FOLDER, name) as found:
        if processes.is_forced(dvc):
            found.remove()
        yield found
