"""Published networks on disk: safetensors with topology, bit width and epoch in the metadata. No pickle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError

from bnnlib.config.spec import BITS, Quantization
from bnnlib.config.topology import Topology
from bnnlib.core import files
from bnnlib.core.files import FileError
from bnnlib.nn import widths
from bnnlib.nn.published import Published, layout

# One key, because safetensors writes several in random order and the bytes must repeat.
KEY = "bnnlib"
VERSION = 2  # version 1 had no topology: always the baseline


def write(path: str | Path, published: Published) -> None:
    """Write a published network as safetensors; topology, bit width and epoch go into the metadata."""
    about = {
        "version": VERSION,
        "bits": published.bits,
        "epoch": published.epoch,
        "topology": published.topology.model_dump(),
    }
    files.write_bytes(Path(path), safetensors.torch.save(published.tensors, {KEY: json.dumps(about)}))


def read(path: str | Path) -> Published:
    """Read what `write` wrote; anything else gives a `FileError` that says what is wrong."""
    path = Path(path)
    content = files.read_bytes(path, files.REPRO)
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"][KEY])
        if about["version"] != VERSION:
            raise FileError(f"{path}: version is {about['version']!r}, expected {VERSION}; `dvc repro` trains it again")
        topology = Topology.model_validate(about["topology"])
        published = Published(tensors, topology, about["bits"], about["epoch"])
    except ValidationError as error:
        raise FileError(f"{path}: topology: {error.errors()[0]['msg']}") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path}: not a published network ({type(error).__name__}: {error})") from error
    _check(path, published)
    # A wider network of a topology with input thresholds was written without them only since version 0.2.
    return replace(published, topology=widths.of(Quantization(bits=published.bits)).topology(published.topology))


def _check(path: Path, published: Published) -> None:
    """Compare bit width, names, types, shapes and codes with those of a network of that topology and width."""
    bits, epoch = published.bits, published.epoch
    if bits not in BITS or not isinstance(epoch, int):
        raise FileError(f"{path}: bits {bits!r} and epoch {epoch!r}, expected one of {BITS} and a whole number")
    if bits == 1 and not published.topology.input:
        raise FileError(f"{path}: topology: input: [], expected a list of pixel thresholds at 1 bit")
    expected = layout(published.topology, bits)
    found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in published.tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise FileError(f"{path}: tensor {name} is {found.get(name)}, expected {expected.get(name)}")
    for name, tensor in published.tensors.items():
        if tensor.dtype == torch.uint8 and int(tensor.max()) >= 2**bits:
            raise FileError(f"{path}: tensor {name} holds the code {int(tensor.max())}, expected at most {2**bits - 1}")
