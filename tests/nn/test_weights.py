"""Published networks are written and read back, and damaged files are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import topologies

from bnnlib.config.spec import Quantization
from bnnlib.core.files import FileError
from bnnlib.nn import weights
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import Published, layout, publish, restore

WIDTHS = [1, 2, 4, 8, 16, 32]
STORED = {16: torch.float16, 32: torch.float32}  # narrower weights are codes


def published(bits: int, epoch: int = 3) -> Published:
    torch.manual_seed(bits)
    return publish(ConvNet(topologies.SMALL, Quantization(bits=bits)), epoch)


@pytest.mark.parametrize("bits", WIDTHS)
def test_round_trip(tmp_path: Path, bits: int) -> None:
    written = published(bits)
    weights.write(tmp_path / "a", written)
    read = weights.read(tmp_path / "a")
    assert (read.bits, read.epoch, read.topology) == (bits, 3, written.topology)
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensor in read.tensors.items():
        assert tensor.dtype == written.tensors[name].dtype
        assert torch.equal(tensor, written.tensors[name]), name


@pytest.mark.parametrize("bits", WIDTHS)
def test_stored_types(bits: int) -> None:
    for name, tensor in published(bits).tensors.items():
        real = torch.float16 if bits == 16 else torch.float32
        assert tensor.dtype == (real if ".norm." in name else STORED.get(bits, torch.uint8)), name


def test_metadata(tmp_path: Path) -> None:
    weights.write(tmp_path / "a", published(4, epoch=17))
    with safetensors.safe_open(tmp_path / "a", framework="pt") as file:
        [(key, text)] = file.metadata().items()
        about = {"version": 2, "bits": 4, "epoch": 17, "topology": published(4).topology.model_dump(mode="json")}
        assert (key, json.loads(text)) == ("bnnlib", about)
        assert len(file.keys()) == 4 * 5  # weight and four numbers of batch norm of four layers


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    # Ten times, because the library keeps metadata in a hash table of random order.
    written = published(1)
    for number in range(10):
        weights.write(tmp_path / str(number), written)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def header_length(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = published(1)
    few = {name: whole.tensors[name] for name in ("head.norm.bias", "head.weight")}  # so that there are few lengths
    weights.write(path, replace(whole, tensors=few))
    content = path.read_bytes()
    header = header_length(content)
    for length in [*range(header + 1), *range(header + 1, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match="not a published network"):
            weights.read(path)


def test_a_flipped_bit_of_the_header_is_refused_or_the_network_still_works(tmp_path: Path) -> None:
    path = tmp_path / "a"
    weights.write(path, published(1))
    content = path.read_bytes()
    accepted = 0
    for position in range(0, header_length(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            read = weights.read(path)
        except FileError:
            continue
        accepted += 1
        restore(read)
    assert accepted < 10  # what a reader cannot check: the epoch's digits, spaces at the header's end


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda header: len(header).to_bytes(8, "little") + header))
def test_any_bytes_are_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(content)
        with pytest.raises(FileError):
            weights.read(path)


def metadata(**changes: Any) -> dict[str, str]:
    return {
        "bnnlib": json.dumps(
            {"version": 2, "bits": 1, "epoch": 3, "topology": topologies.SMALL.model_dump(), **changes}
        )
    }


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "__metadata__"),
        ({"format": "pt"}, "bnnlib"),
        ({"bnnlib": "{"}, "JSONDecodeError"),
        ({"bnnlib": "[]"}, "TypeError"),
        ({"bnnlib": "{}"}, "version"),
        (metadata(version=1), "version is 1, expected 2; `dvc repro` trains it again"),
        (metadata(topology=None), "topology: Input should be a valid dictionary"),
        (metadata(topology={"input": [64]}), "topology: Field required"),
        (metadata(topology={"input": [64, 64], "blocks": []}), "topology: [64, 64] do not rise"),
        (metadata(topology={"input": [64], "blocks": [{"channels": 1, "kernel": 28, "pool": 2}]}), "pooling by 2"),
        (metadata(topology=topologies.BASELINE.model_dump()), "tensor blocks.0.norm.bias is"),
        (metadata(bits="1"), "bits '1' and epoch 3"),
        (metadata(bits=3), "bits 3 and epoch 3"),
        (metadata(epoch=1.5), "bits 1 and epoch 1.5"),
        (metadata(epoch=None), "bits 1 and epoch None"),
        (metadata(bits=[1]), "bits [1] and epoch 3"),
    ],
)
def test_other_metadata_are_refused(tmp_path: Path, about: dict[str, str], message: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(safetensors.torch.save(published(1).tensors, about or None))
    with pytest.raises(FileError) as caught:
        weights.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def without(name: str) -> Callable[[Published], Published]:
    return lambda good: replace(good, tensors={key: t for key, t in good.tensors.items() if key != name})


def with_tensor(name: str, tensor: torch.Tensor) -> Callable[[Published], Published]:
    return lambda good: replace(good, tensors={**good.tensors, name: tensor})


# Each is valid safetensors, but not a network.
NOT_NETWORKS: dict[str, Callable[[Published], Published]] = {
    "no tensors": lambda good: replace(good, tensors={}),
    "a tensor missing": without("head.weight"),
    "batch norm missing": without("blocks.1.norm.bias"),
    "a tensor too many": with_tensor("blocks.3.weight", torch.zeros(2)),
    "another shape": with_tensor("head.weight", torch.zeros(10, 8, 3, 2, dtype=torch.uint8)),
    "another type": with_tensor("head.weight", torch.zeros(10, 8, 3, 3)),
    "a code beyond the width": with_tensor("head.weight", torch.full((10, 8, 3, 3), 2, dtype=torch.uint8)),
    "no input plane": lambda good: replace(good, topology=good.topology.model_copy(update={"input": ()})),
    "a width of other weights": lambda good: replace(good, bits=16),
}


@pytest.mark.parametrize("change", NOT_NETWORKS.values(), ids=NOT_NETWORKS)
def test_tensors_that_are_not_a_network_are_refused(tmp_path: Path, change: Callable[[Published], Published]) -> None:
    path = tmp_path / "a"
    weights.write(path, change(published(1)))
    with pytest.raises(FileError) as caught:
        weights.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_wider_network_is_read_without_the_input_thresholds_of_an_older_file(tmp_path: Path) -> None:
    older = replace(published(4), topology=topologies.SMALL)
    weights.write(str(tmp_path / "a"), older)
    assert older.topology.input != ()
    assert weights.read(str(tmp_path / "a")).topology == published(4).topology


def test_one_bit_without_a_plane_is_refused(tmp_path: Path) -> None:
    """Also where the first layer's weights have no plane either."""
    one_plane, topology = (topologies.SMALL.model_copy(update={"input": planes}) for planes in ((64,), ()))
    tensors = {name: torch.zeros(shape, dtype=kind) for name, (kind, shape) in layout(one_plane, 1).items()}
    weights.write(tmp_path / "a", Published(tensors, topology, bits=1, epoch=1))
    with pytest.raises(FileError, match=r"a: topology: input: \[\], expected a list of pixel thresholds at 1 bit"):
        weights.read(tmp_path / "a")


def raw(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        raw([]),
        raw(None),
        raw({"__metadata__": None}),
        raw({"__metadata__": {"bnnlib": 3}}),
        raw({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}, "__metadata__": metadata()}, b"\0"),
        raw({"a": {"dtype": "U8", "shape": [2**62, 4], "data_offsets": [0, 1]}, "__metadata__": metadata()}, b"\0"),
        (2**63).to_bytes(8, "little") + b"{}",
    ],
)
def test_odd_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(FileError):
        weights.read(path)
