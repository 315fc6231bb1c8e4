"""The state of a training on disk after each epoch, from which the same training goes on after an interruption."""

from __future__ import annotations

import io
import pickle
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bnnlib.config.spec import Training
from bnnlib.core import files, fingerprint
from bnnlib.core.files import FileError

# The folders and files of the package that decide what a training gives.
CODE = (
    "config/spec.py",
    "config/topology.py",
    "core/runtime.py",
    "data/mnist.py",
    "data/splits.py",
    "nn",
    "scoring",
    "training",
)


class Checkpoint:
    """A file with the newest state of one training, and the seconds that it took so far, over all its parts.

    What cannot be written or read costs a warning: the training then starts anew, or will not go on from there.
    Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.seconds = 0.0
        self._since = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What `save` got last; None where there is no file, or none that can be read. Runs no code of the file."""
        if self.path is None or not self.path.exists():
            return None
        try:
            found = torch.load(io.BytesIO(files.read_bytes(self.path)), map_location="cpu", weights_only=True)
            self.seconds = float(found["seconds"])
            state: dict[str, Any] = found["state"]
        except (FileError, RuntimeError, ValueError, LookupError, TypeError, EOFError, pickle.UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            print(f"warning: {self.path} is damaged ({reason}): the training starts anew", file=sys.stderr)
            return None
        print(f"{self.path}: the training goes on from here", flush=True)
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file by one with this state: tensors, numbers, text, lists and mappings of them."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        if self.path is None:
            return
        buffer = io.BytesIO()
        torch.save({"seconds": self.seconds, "state": dict(state)}, buffer)
        try:
            files.write_bytes(self.path, buffer.getvalue())
        except (OSError, FileError) as error:
            print(f"warning: {error}: after an interruption the training starts anew", file=sys.stderr)

    def remove(self) -> None:
        """Remove the file, so that the training starts anew."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def of(folder: Path, cfg: Training, data: Mapping[str, str]) -> Checkpoint:
    """The checkpoint of this training in a folder; another one where anything differs that may change its results.

    ``data``: hashes of the data by their name. Beside them count the parameters, the code (not its comments), torch,
    and the instructions of the processor that torch uses.
    """
    about = {
        "training": cfg.model_dump(),
        "data": dict(data),
        "code": fingerprint.of_package(CODE),
        "torch": [torch.__version__, torch.backends.cpu.get_cpu_capability()],
    }
    return Checkpoint(folder / f"{cfg.variant}-{fingerprint.of(about)}.pt")
