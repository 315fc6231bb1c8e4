"""What several commands share: options, their defaults, and the folder of the published networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# readable=False, here and elsewhere: the function that reads a path reports an unreadable one, with the way out; Typer
# would call it wrong usage.
REPORTS = Path("reports")
PARAMS_YAML = Path("params.yaml")
MODELS = Path("models")

Reports = Annotated[Path, typer.Option(readable=False, help="The folder with the results.")]
ParamsYaml = Annotated[Path, typer.Option(readable=False, help="The parameters.")]
DATA = Path("data")
DataFolder = Annotated[Path, typer.Option(readable=False, help="The folder with the manifests of the data, and raw/.")]
# Where trainings run.
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes on this machine.", show_default="cores")]
Backend = Annotated[Literal["loky", "dask"], typer.Option(help="Processes here, or a Dask cluster.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The cluster's scheduler.")]


def networks_folder(given: Path | None) -> Path:
    """The folder with the published networks: as given, else models/ here, else that of the repository if there is one.

    Any other folder called models/ is passed over, so the commands also work outside the repository.
    """
    if given is not None:
        return given
    of_repository = Path(__file__).resolve().parents[2] / MODELS
    found = (folder for folder in (MODELS, of_repository) if (folder / "full.safetensors").is_file())
    return next(found, MODELS)
