"""Published networks on disk: safetensors with the bit width and the epoch in the metadata. No pickle."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch

from bnnlib import files
from bnnlib.files import FileError
from bnnlib.models import Published

FORMAT = "bnnlib-1"


def write(path: Path, published: Published) -> None:
    """Write a published network as safetensors; bit width and epoch go into the metadata."""
    metadata = {"format": FORMAT, "bits": str(published.bits), "epoch": str(published.epoch)}
    files.write_bytes(path, safetensors.torch.save(published.tensors, metadata))


def read(path: Path) -> Published:
    """Read what `write` wrote; anything else gives a `FileError`."""
    content = files.read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        if metadata["format"] != FORMAT:
            raise FileError(f"{path}: format is {metadata['format']!r}, expected {FORMAT!r}")
        return Published(tensors, int(metadata["bits"]), int(metadata["epoch"]))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileError(f"{path}: not a published network ({error})") from error
