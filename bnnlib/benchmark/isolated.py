"""Time without AVX-512, in a child process, because libraries read the mask when they are imported.

`python -m bnnlib.benchmark.isolated ARGUMENTS` takes the arguments of `measure` as JSON and prints its result as JSON.
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

# Limits Numba and torch (its own kernels, oneDNN, MKL) to AVX2. Numba adds the features of this machine unless others
# are given; "" adds none to those of the named processor.
MASK = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}


class MaskedError(BnnError):
    """The child process failed."""


def run(networks: Path, data: Path, images: int, effort: Effort) -> dict[str, Any]:
    """`measure` in a child process with the `MASK` in its environment; `MaskedError` if it fails."""
    arguments = {"networks": str(networks), "data": str(data), "images": images, "effort": asdict(effort)}
    path = os.pathsep.join(str(Path(each).absolute()) for each in sys.path)  # the child imports the same modules
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bnnlib.benchmark.isolated", json.dumps(arguments)],  # -P: not from this folder
        env={**os.environ, "PYTHONPATH": path, **MASK},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MaskedError(f"the measurement without AVX-512 ended with exit status {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(networks: str, data: str, images: int, effort: Mapping[str, Any]) -> dict[str, Any]:
    """Checks and times of torch float32 and the fast engine on one thread, and the CPU capability torch reports."""
    inputs = contest.load(Path(networks), Path(data), images)
    field = [*contestants.of_torch(contestants.fold(inputs.full), 1), *contestants.of_ours(inputs.one_bit, [1])[1:]]
    checks, times = contest.check_and_time(inputs, field, Effort(**effort))
    return {
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "checks": {name: asdict(check) for name, check in checks.items()},
        "times": [[key, samples] for key, samples in times.items()],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
    except BnnError as error:
        sys.exit(str(error))
