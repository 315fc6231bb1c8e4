"""The stages of dvc.yaml, one module each: read, call `bnnlib`, write, log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bnnlib.core.errors import BnnError

ParamsFile = Annotated[Path, typer.Option(help="The parameters; all are checked before anything runs.")]
DEFAULT_PARAMS = Path("params.yaml")


def run(main: Callable[..., None]) -> None:
    """Run a stage's `main` as a command; a `BnnError` ends it with its message and exit code 1."""
    try:
        typer.run(main)
    except BnnError as error:
        sys.exit(f"error: {error}")
