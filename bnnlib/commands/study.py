"""The commands around the study: check, readme, repair, sweep, search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnlib.commands.options import (
    DATA,
    PARAMS_YAML,
    REPORTS,
    Backend,
    DataFolder,
    Jobs,
    ParamsYaml,
    Reports,
    Scheduler,
)


def check(reports: Reports = REPORTS, params_yaml: ParamsYaml = PARAMS_YAML) -> None:
    """Check the test metrics against params.yaml, that all engines agree, and that no record has changed.

    Exit with 1 on a miss.
    """
    from bnnlib.config import params
    from bnnlib.core import records
    from bnnlib.report import thresholds

    found = thresholds.check(reports, params.load(params_yaml))
    for verdict in found:
        typer.echo(verdict)
    changed = records.check_all(reports)
    for line in changed:
        typer.echo(f"CHANGED {line}")
    missed = [verdict.name for verdict in found if not verdict.passed]
    wrong = [f"{len(missed)} of {len(found)} bounds missed: {', '.join(missed)}"] if missed else []
    wrong += [f"{len(changed)} record{'s' if len(changed) > 1 else ''} changed"] if changed else []
    if wrong:
        raise thresholds.ThresholdError("; ".join(wrong))


def readme(
    reports: Reports = REPORTS,
    root: Annotated[Path, typer.Option(readable=False, help="The folder with README.md and docs/.")] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when a page is out of date.")
    ] = False,
    params_yaml: ParamsYaml = PARAMS_YAML,
) -> None:
    """Write the tables and figures of README.md and docs/ from the reports."""
    from bnnlib.config import params
    from bnnlib.report import readme
    from bnnlib.report.parts.markers import PageError

    cfg = params.load(params_yaml)
    pages = readme.pages(root, reports, cfg.data.name, cfg.topologies)
    changed = readme.stale(pages) if check else readme.write(pages)
    if check and changed:
        names = ", ".join(map(str, changed))
        raise PageError(f"{names}: out of date, not what {reports} holds; run `bnn readme`")
    for path in pages:
        typer.echo(f"{path} {'written' if path in changed else 'is up to date'}")


def repair() -> None:
    """Repair files that a killed DVC left half-written. Run it only while no DVC process is active."""
    from bnnlib import dvc_repair

    for done in dvc_repair.repair(Path.cwd()):
        typer.echo(done)


def sweep(
    seeds: Annotated[str | None, typer.Option(help="Seeds of the trainings, as 0,1,2.")] = None,
    bits: Annotated[str | None, typer.Option(help="Bit widths, as 1,16; 16 uses the recipe full.")] = None,
    surrogates: Annotated[str | None, typer.Option(help="Surrogate gradients at 1 bit, as ste,approx.")] = None,
    topologies: Annotated[str | None, typer.Option(help="Topologies of params.yaml, as pooled,baseline.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Names of data sets.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each training.", show_default="its recipe's")] = None,
    out: Annotated[
        Path, typer.Option(readable=False, help="The table of results; their epochs go into a file beside it.")
    ] = REPORTS / "sweep.csv",
    jobs: Jobs = None,
    backend: Backend = "loky",
    scheduler: Scheduler = None,
    data: DataFolder = DATA,
    params_yaml: ParamsYaml = PARAMS_YAML,
) -> None:
    """Train a grid of networks. Options you omit keep their value from params.yaml.

    Each result is stored at once: after an interruption the same command continues, and a larger grid trains only what
    is missing.
    """
    from bnnlib.config import params
    from bnnlib.sweeps import backends, grid, sweep
    from bnnlib.tracking import processes

    axes = grid.axes(
        seeds=seeds, bits=bits, surrogates=surrogates, topologies=topologies, datasets=datasets, epochs=epochs
    )
    workers = backends.Workers(backend, jobs, scheduler)
    with processes.stoppable():  # here, too, because a signal may come while a line is printed
        for line in sweep.perform(params.load(params_yaml), axes, data, out, workers):
            typer.echo(line)


def search(
    limit: Annotated[
        int | None,
        typer.Option(
            "--bytes", min=1, help="Weight bytes that a network may have at most.", show_default="the topology's"
        ),
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bit width.", show_default="model.bits")] = None,
    topology: Annotated[
        str | None,
        typer.Option(help="The topology to vary; its blocks and pooling stay.", show_default="model.topology"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those done before included.")] = 40,
    epochs: Annotated[int, typer.Option(help="Epochs of each trial.")] = 8,
    out: Annotated[Path, typer.Option(readable=False, help="The table of the trials.")] = REPORTS / "search.csv",
    storage: Annotated[
        Path | None,
        typer.Option(
            readable=False, help="The file to continue from.", show_default="that of --out, ending in .journal"
        ),
    ] = None,
    jobs: Jobs = None,
    backend: Backend = "loky",
    scheduler: Scheduler = None,
    data: DataFolder = DATA,
    params_yaml: ParamsYaml = PARAMS_YAML,
) -> None:
    """Search for the best shape of a network with at most so many weight bytes: channels, kernels, input planes.

    Trials are short trainings judged on the validation images. Each result is stored at once: after an interruption the
    same command continues, and a larger number of trials adds what is missing.
    """
    from bnnlib.config import params
    from bnnlib.search import plan, search
    from bnnlib.sweeps import backends
    from bnnlib.tracking import processes

    asked = plan.Asked(limit, trials, epochs, bits, topology)
    places = search.Places(data, out, out.with_suffix(".journal") if storage is None else storage)
    workers = backends.Workers(backend, jobs, scheduler)
    with processes.stoppable():  # here, too, because a signal may come while a line is printed
        for line in search.perform(params.load(params_yaml), asked, places, workers):
            typer.echo(line)
