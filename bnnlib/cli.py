"""The `bnn` command: the list of its commands, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from bnnlib.commands import benchmark, networks, study, ui
from bnnlib.core.extras import needed
from bnnlib.core.system import program

# Each command with the extra that it needs. It imports what it uses itself: pandas alone takes longer than a whole
# `bnn predict`.
COMMANDS: dict[Callable[..., None], str | None] = {
    networks.predict: None,
    networks.export: None,  # the format onnx names its own extra
    networks.summary: "train",
    networks.compare: "train",
    study.check: "pipeline",
    study.readme: "pipeline",
    study.repair: "pipeline",
    ui.ui: "pipeline",
    study.sweep: "pipeline",
    study.search: "pipeline",
    benchmark.benchmark: "pipeline",
}


def build() -> typer.Typer:
    """The command with its subcommands."""
    app = typer.Typer(
        help="Classify images, export and compare networks, check results, update pages, browse MLflow, sweep, search.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for command, extra in COMMANDS.items():
        name = command.__name__
        app.command(name)(command if extra is None else needed(extra, f"bnn {name}")(command))
    return app


@program()
def main() -> None:
    """Run the command; an error that the user can correct ends it with its message and exit code 1."""
    build()()


def _show_version(wanted: bool) -> None:
    if wanted:
        import bnnlib

        typer.echo(f"bnn {bnnlib.__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `bnn` itself."""
