"""Pack the published 1-bit network into a file that can be used without torch."""

from __future__ import annotations

from pathlib import Path

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.export import pack
from bnnlib.nn import weights
from bnnlib.packed import format as packed_format
from bnnlib.packed.model import Pass
from bnnlib.serving import pyfunc
from bnnlib.tracking import models
from bnnlib.tracking.run import open_run
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(network: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Pack the network in the file NETWORK and write it to OUT; OUT is empty if the network is wider than 1 bit."""
    cfg = params.load(params_yaml)
    passes = [each.model_dump() for each in cfg.model.passes]
    with open_run("pack", cfg, {"model.passes": passes}, data=[network]) as log:
        published = weights.read(network)
        if published.bits != 1:  # an experiment with another model.bits; DVC requires every output to exist
            files.write_bytes(out, b"")
            print(f"{out} is empty: only a 1-bit network is packed, and this one has {published.bits} bits")
            return
        content = packed_format.encode(pack.pack(published, [Pass(**each) for each in passes]))
        files.write_bytes(out, content)
        log.log_metrics({"binary.packed_bytes": len(content)})
        log.log_artifact(out)
        classifier = pyfunc.load(out)
        example = classifier.example()
        models.register_packed(log, "bnn-packed", out, example, classifier.predict(example))


if __name__ == "__main__":
    run(main)
