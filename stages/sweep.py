"""Train the grids of networks of params.yaml; a frozen stage, because it takes hours."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.sweeps import backends, sweep
from bnnlib.tracking import processes
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(data: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Train the grids of params.yaml with the manifests and raw files in DATA; add what the table OUT lacks."""
    cfg = params.load(params_yaml)
    with processes.stoppable():  # here, too, because a signal may come while a line is printed
        for grid in cfg.sweep:
            for line in sweep.perform(cfg, grid.model_dump(), data, out, backends.Workers()):
                print(line, flush=True)


if __name__ == "__main__":
    run(main)
