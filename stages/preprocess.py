"""Turn the raw IDX files into arrays and split them."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.data import prepare, sources
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(manifest: Path, raw: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Check the folder RAW against MANIFEST; write training, validation and test images into the folder OUT."""
    cfg = params.load(params_yaml)
    with open_run("preprocess", cfg, params.flatten(cfg.data, "data."), data=[manifest]) as log:
        splits = prepare.from_raw(raw, sources.read_manifest(manifest), cfg.data)
        prepare.write(out, splits)
        for name, split in splits.items():
            log.log_dataset(out / f"{name}.npz", split, name)


if __name__ == "__main__":
    run(main)
