"""Turn the raw IDX files into arrays and split them."""

from __future__ import annotations

from pathlib import Path

from bnnlib import files, mnist, params, sources, tracking
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(manifest: Path, raw: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Check the folder RAW against MANIFEST; write training, validation and test images into the folder OUT."""
    cfg = params.load(params_yaml)
    logged = {"seed": cfg.seed, **params.flatten(cfg.data, "data.")}
    with tracking.open_run("preprocess", logged, data=[manifest]) as log:
        digests = sources.read_manifest(manifest)
        sources.verify(raw, digests)
        parts = {}
        for part, names in mnist.PARTS.items():
            images, labels = (sources.read_raw(raw, name, digests) for name in names)
            parts[part] = mnist.limited(mnist.decode(images, labels, part), cfg.data.limit)
        train, validation = mnist.split(parts["development"], cfg.data.validation_fraction, cfg.seed)
        for name, split in {"train": train, "validation": validation, "test": parts["test"]}.items():
            files.write_split(out / f"{name}.npz", split)
            log.log_dataset(out / f"{name}.npz", split, name)


if __name__ == "__main__":
    run(main)
