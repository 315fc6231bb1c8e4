"""The stages of dvc.yaml, one module each: read, call `bnnlib`, write, log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bnnlib.core.system import program

ParamsFile = Annotated[Path, typer.Option(readable=False, help="The parameters; all are checked before anything runs.")]
DEFAULT_PARAMS = Path("params.yaml")


@program()
def run(main: Callable[..., None]) -> None:
    """Run a stage's `main` as a command; an error ends it with its message and exit code 1."""
    typer.run(main)
