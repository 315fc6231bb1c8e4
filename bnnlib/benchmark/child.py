"""Measurements that need a process of their own: with AVX-512 masked, and of memory.

`python -m bnnlib.benchmark.child TASK ARGUMENTS`, both of `call`; prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bnnlib.errors import BnnError

ROOT = Path(__file__).resolve().parents[2]
# Read by Numba, torch (its own kernels, oneDNN, MKL) when they are imported: no processor with more than AVX2.
# Numba takes the features of the host unless they are given: "" leaves those that the name stands for.
MASK = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}
IMAGES = 10_000
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): sets the peak resident size to the current one


class ChildError(BnnError):
    """A measurement in a process of its own failed."""


def call(task: str, arguments: Mapping[str, object], environment: Mapping[str, str]) -> Any:
    """Run a task with its arguments (as JSON holds them), and these environment variables besides our own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "bnnlib.benchmark.child", task, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ChildError(f"the measurement {task!r} ended with {done.returncode}: {last}")
    return json.loads(done.stdout)


def masked(networks: str, data: str, images: int, effort: Mapping[str, Any]) -> dict[str, Any]:
    """Torch float32 and the fast engine on one thread: checks and times, and what torch says of the processor."""
    import torch

    from bnnlib.benchmark import contest, contestants
    from bnnlib.benchmark.timing import Effort

    inputs = contest.load(Path(networks), Path(data), images)
    field = [*contestants.of_torch(contestants.fold(inputs.full), 1), *contestants.of_ours(inputs.one_bit, [1])[1:]]
    checks, times = contest.hold(inputs, field, Effort(**effort))
    return {
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "checks": {name: asdict(check) for name, check in checks.items()},
        "times": [[key, samples] for key, samples in times.items()],
    }


def memory(network: str) -> dict[str, Any]:
    """Peak of the resident memory while the fast engine does `IMAGES` images at once, in MB (10**6 bytes).

    ``growth_mb``: above what the process held before, with the images and the compiled code. ``process_mb``: all of
    the process, with Python, NumPy and Numba.
    """
    from bnnlib import packed_file
    from bnnlib.packed import engines

    model = packed_file.read(Path(network))
    engine = engines.fast(model)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, model.side, model.side), dtype=np.uint8)
    engine.logits(images[:1])  # loads the compiled code
    start_peak = _status_mb("VmHWM")
    CLEAR_REFS.write_text(RESET_PEAK, encoding="ascii")
    before = _status_mb("VmRSS")
    engine.logits(images)
    peak = _status_mb("VmHWM")
    return {"images": IMAGES, "growth_mb": round(peak - before, 1), "process_mb": round(max(peak, start_peak), 1)}


def _status_mb(name: str) -> float:
    """A size of /proc/self/status, which it tells in KiB; getrusage's peak may be that of the parent."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ChildError(f"{STATUS} tells no {name}")


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"masked": masked, "memory": memory}


if __name__ == "__main__":
    try:
        print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
    except BnnError as error:
        sys.exit(str(error))
