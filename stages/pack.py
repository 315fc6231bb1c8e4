"""Pack the published 1-bit network into the file that needs no torch."""

from __future__ import annotations

from pathlib import Path

from bnnlib import tracking
from bnnlib.config import params
from bnnlib.core import files
from bnnlib.export import pack
from bnnlib.nn import weights
from bnnlib.packed import format as packed_format
from bnnlib.serving import pyfunc
from stages import DEFAULT_PARAMS, ParamsFile, run


def main(network: Path, out: Path, params_yaml: ParamsFile = DEFAULT_PARAMS) -> None:
    """Pack the 1-bit network in the file NETWORK; write it to OUT, which stays empty for a wider network."""
    params.load(params_yaml)
    with tracking.open_run("pack", {}, data=[network]) as log:
        published = weights.read(network)
        if published.bits != 1:  # an experiment with another model.bits; DVC wants every output to exist
            files.write_bytes(out, b"")
            print(f"{out} is empty: only a 1-bit network is packed, and this one has {published.bits} bits")
            return
        content = packed_format.encode(pack.pack(published))
        files.write_bytes(out, content)
        log.log_metrics({"packed_bytes": len(content)})
        log.log_artifact(out)
        classifier = pyfunc.load(out)
        example = classifier.example()
        log.log_packed_model("bnn-packed", out, example, classifier.predict(example))


if __name__ == "__main__":
    run(main)
