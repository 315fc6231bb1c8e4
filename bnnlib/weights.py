"""Published networks on disk: safetensors with the bit width and the epoch in the metadata. No pickle."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from bnnlib import files, mnist, models, params
from bnnlib.files import FileError
from bnnlib.models import Published

# One key, for safetensors writes several in random order and the bytes must repeat.
KEY = "bnnlib"
VERSION = 1


def write(path: Path, published: Published) -> None:
    """Write a published network as safetensors; bit width and epoch go into the metadata."""
    about = json.dumps({"version": VERSION, "bits": published.bits, "epoch": published.epoch})
    files.write_bytes(path, safetensors.torch.save(published.tensors, {KEY: about}))


def read(path: Path) -> Published:
    """Read what `write` wrote; anything else gives a `FileError` that names the fault."""
    content = files.read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"][KEY])
        published = Published(tensors, about["bits"], about["epoch"])
        version = about["version"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path}: not a published network ({type(error).__name__}: {error})") from error
    if version != VERSION:
        raise FileError(f"{path}: version is {version!r}, expected {VERSION}")
    _check(path, published)
    return published


def _check(path: Path, published: Published) -> None:
    """Compare bit width, names, types, shapes, codes and input threshold with those of a network of that width."""
    bits, epoch = published.bits, published.epoch
    if bits not in params.BITS or not isinstance(epoch, int):
        raise FileError(f"{path}: bits {bits!r} and epoch {epoch!r}, expected one of {params.BITS} and a whole number")
    expected = models.layout(bits)
    found = {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in published.tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise FileError(f"{path}: tensor {name} is {found.get(name)}, expected {expected.get(name)}")
    for name, tensor in published.tensors.items():
        if tensor.dtype == torch.uint8 and int(tensor.max()) >= 2**bits:
            raise FileError(f"{path}: tensor {name} holds the code {int(tensor.max())}, which {bits} bits do not")
    if bits == 1 and not 1 <= (threshold := int(published.tensors[models.INPUT_THRESHOLD])) <= mnist.WHITE:
        raise FileError(f"{path}: tensor {models.INPUT_THRESHOLD} is {threshold}, expected 1 to {mnist.WHITE}")
