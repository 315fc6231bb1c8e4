"""Fetch the raw files of a data set and check them against the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import sources
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(
    manifest: Path,
    out: Path,
    source_dir: Annotated[
        Path | None,
        typer.Option("--from", envvar="BNN_DATA_DIR", help="A folder to look into first, with the raw files or .gz."),
    ] = None,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Put the files of data.name, which MANIFEST lists, into the folder OUT: from a folder, mirrors, or a package."""
    cfg = params.load(params_yaml)
    digests = sources.read_manifest(manifest)
    with open_run("download", cfg, {"data.name": cfg.data.name}, data=[manifest]) as log:
        found = sources.fetch(digests, sources.all_sources(cfg.data.name, source_dir))
        for name, content in found.items():
            files.write_bytes(out / name, content)
        log.log_artifact(manifest)


if __name__ == "__main__":
    run(main)
