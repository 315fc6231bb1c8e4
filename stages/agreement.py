"""Compare the trained 1-bit network with both engines of its packed form, on all images."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.core import files, runtime
from bnnlib.data import splits
from bnnlib.export import agreement
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.packed import engines, file
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(
    network: Path,
    packed: Path,
    train: Path,
    validation: Path,
    test: Path,
    out: Path,
    params_yaml: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Compare NETWORK and its PACKED form on TRAIN, VALIDATION and TEST; write the number of differences to OUT.

    A network wider than 1 bit has no packed form: PACKED is an empty file, and OUT an empty JSON object.
    """
    cfg = params.load(params_yaml)
    threads = cfg.runtime.threads
    paths = {"train": train, "validation": validation, "test": test}
    with open_run("agreement", cfg, {"runtime.threads": threads}, data=list(paths.values())) as log:
        runtime.configure(threads, "cpu")
        model = file.read_if_any(packed)
        if model is None:  # an experiment with another model.bits
            files.write_json(out, {})
            print(f"{packed} is empty: only a 1-bit network is packed, so there is nothing to compare")
            return
        trained = restore(weights.read(network))
        fast = engines.fast(model, threads)  # first, so a missing Numba is reported before the long comparison
        found = {}
        for name, path in paths.items():
            split = splits.read(path)
            log.log_dataset(path, split, name)
            found[name] = agreement.compare_engines(trained, model, fast, split.images, threads)
        files.write_json(out, found)
        log.log_artifact(out)
        log.log_metrics(agreement.metrics(found), above=False)


if __name__ == "__main__":
    run(main)
