"""After the set-up a process computes the same in any environment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from bnnlib.core import runtime
from bnnlib.core.runtime import DeviceError

# In a process of its own, because the settings last as long as the process.
REPORT = """
import json, random
import numpy as np
import torch
from bnnlib.core import runtime
runtime.seed(7)
runtime.configure(threads=3, device="cpu")
draws = [random.random(), np.random.rand(), torch.rand(1).item()]
print(json.dumps({
    "threads": torch.get_num_threads(),
    "deterministic": torch.are_deterministic_algorithms_enabled(),
    "draws": draws,
}))
"""


def test_omp_num_threads_does_not_matter() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    torch_draw = torch.rand(1, generator=torch.Generator().manual_seed(7)).item()
    assert found["threads"] == 3
    assert found["deterministic"] is True
    assert found["draws"] == [random.Random(7).random(), np.random.RandomState(7).rand(), torch_draw]  # noqa: S311


def test_cuda_that_is_not_there_is_refused_before_anything_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    with pytest.raises(DeviceError, match=r"runtime\.device: cuda, but torch sees no CUDA device; set it to cpu"):
        runtime.configure(threads=threads + 1, device="cuda")
    assert torch.get_num_threads() == threads
