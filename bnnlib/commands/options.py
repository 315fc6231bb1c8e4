"""What several commands share: options, their defaults, and the folder of the published networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

REPORTS = Path("reports")
PARAMS_YAML = Path("params.yaml")
MODELS = Path("models")

Reports = Annotated[Path, typer.Option(help="The folder with the results.")]
ParamsYaml = Annotated[Path, typer.Option(help="The parameters.")]


def networks_folder(given: Path | None) -> Path:
    """The folder with the published networks: as given, else models/ here, else that of the repository if there is one.

    So the commands also work in other folders where the package runs from a repository.
    """
    if given is not None:
        return given
    of_repository = Path(__file__).resolve().parents[2] / MODELS
    return of_repository if of_repository.is_dir() and not MODELS.is_dir() else MODELS
