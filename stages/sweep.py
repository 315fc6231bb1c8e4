"""Train a grid of networks; a frozen stage, because it takes many minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnlib.config import params
from bnnlib.sweeps import backends, grid, sweep
from bnnlib.tracking import processes
from stages import DEFAULT_PARAMS, ParamsFile, run

Values = Annotated[str, typer.Option()]


def main(
    data: Path,
    out: Path,
    datasets: Values,
    topologies: Values,
    bits: Values,
    surrogates: Values,
    seeds: Values,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Train all combinations with the manifests and raw files in the folder DATA; add what the table OUT lacks."""
    axes = grid.axes(datasets=datasets, topologies=topologies, bits=bits, surrogates=surrogates, seeds=seeds)
    with processes.stoppable():  # here, too, because a signal may come while a line is printed
        for line in sweep.perform(params.load(params_yaml), axes, data, out, backends.Workers()):
            print(line, flush=True)


if __name__ == "__main__":
    run(main)
