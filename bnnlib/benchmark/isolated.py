"""The measurement with AVX-512 masked, in a process of its own: libraries read the mask when they are imported.

`python -m bnnlib.benchmark.child ARGUMENTS`, those of `masked` as JSON; prints its result as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bnnlib.benchmark.prediction import contest, contestants
from bnnlib.benchmark.timing import Effort
from bnnlib.core.errors import BnnError

ROOT = Path(__file__).resolve().parents[2]
# Read by Numba and torch (its own kernels, oneDNN, MKL): no processor with more than AVX2. Numba takes the features of
# the host unless they are given: "" leaves those of the named processor.
MASK = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}


class ChildError(BnnError):
    """The measurement in a process of its own failed."""


def call(networks: Path, data: Path, images: int, effort: Effort) -> dict[str, Any]:
    """What `masked` gives in a process whose environment has the `MASK`; `ChildError` where it fails."""
    arguments = {"networks": str(networks), "data": str(data), "images": images, "effort": asdict(effort)}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "bnnlib.benchmark.isolated", json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": path, **MASK},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ChildError(f"the masked measurement ended with {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def masked(networks: str, data: str, images: int, effort: Mapping[str, Any]) -> dict[str, Any]:
    """Torch float32 and the fast engine on one thread: checks and times, and what torch says of the processor."""
    inputs = contest.load(Path(networks), Path(data), images)
    field = [*contestants.of_torch(contestants.fold(inputs.full), 1), *contestants.of_ours(inputs.one_bit, [1])[1:]]
    checks, times = contest.hold(inputs, field, Effort(**effort))
    return {
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "checks": {name: asdict(check) for name, check in checks.items()},
        "times": [[key, samples] for key, samples in times.items()],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(masked(**json.loads(sys.argv[1]))))
    except BnnError as error:
        sys.exit(str(error))
