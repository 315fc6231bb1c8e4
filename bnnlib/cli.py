"""The `bnn` command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bnnlib import files, gate, params, readme, tracking
from bnnlib.errors import BnnError

app = typer.Typer(
    help="Tools around the study: check its results, write its README, look at its logbook.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Reports = Annotated[Path, typer.Option(help="The folder with the results.")]
REPORTS = Path("reports")


@app.command()
def check(reports: Reports = REPORTS, params_yaml: Annotated[Path, typer.Option()] = Path("params.yaml")) -> None:
    """Compare the test metrics with the thresholds; exit with 1 when one is missed."""
    thresholds = params.load(params_yaml).thresholds
    found = gate.verdicts(files.read_json(reports / "metrics.json"), thresholds)
    for verdict in found:
        typer.echo(verdict)
    missed = [verdict.name for verdict in found if not verdict.passed]
    if missed:
        raise gate.GateError(f"{len(missed)} of {len(found)} thresholds missed: {', '.join(missed)}")


@app.command(name="readme")
def write_readme(
    reports: Reports = REPORTS,
    page: Annotated[Path, typer.Option(help="The page whose generated part is written.")] = Path("README.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 when the page is stale.")] = False,
) -> None:
    """Write the table and the figures of the README from the reports."""
    text = files.read_text(page)
    wanted = readme.updated(text, readme.generate(reports), str(page))
    if text == wanted:
        typer.echo(f"{page} is up to date")
    elif check:
        raise readme.ReadmeError(f"{page} is stale: it does not show what {reports} holds; run `bnn readme`")
    else:
        files.write_text(page, wanted)
        typer.echo(f"{page} written")


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000, host: str = "127.0.0.1") -> None:
    """Show the logbook in MLflow's pages, until Ctrl-C."""
    tracking.set_defaults()
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # a dozen processes that only run jobs
    store = tracking.find_store(os.environ, Path.cwd())
    if store.lock is None:
        typer.echo(f"The logbook is the server at {store.uri}; open that address.")
        return
    tracking.ready(store)
    typer.echo(f"MLflow shows {store.uri} at http://{host}:{port} in about ten seconds; Ctrl-C ends it.")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store.uri]
    os.execv(sys.executable, [*command, "--host", host, "--port", str(port), "--workers", "1"])


def main() -> None:
    """Run the command; a fault that the user can mend ends it with its message and exit code 1."""
    try:
        app()
    except BnnError as error:
        sys.exit(f"error: {error}")
