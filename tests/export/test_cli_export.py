"""`bnn export` and `bnn summary`: what they write and print, and how they end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support import networks, peers, topologies
from support.clone import Bnn

from bnnlib.export import c_code, onnx_model
from bnnlib.nn import weights


def test_export_writes_the_c_source(bnn: Bnn) -> None:
    code, output, _ = bnn("export", "--format", "c", "--out", "firmware")
    wanted = c_code.generate(networks.committed())
    assert {path.name: path.read_text() for path in Path("firmware").iterdir()} == wanted
    assert (code, output) == (0, "".join(f"firmware/{name}: {len(text):,} bytes\n" for name, text in wanted.items()))


def test_export_writes_the_onnx_model_of_another_file(bnn: Bnn) -> None:
    peers.package("onnx")
    Path("other.bnn").write_bytes(networks.COMMITTED.read_bytes())
    assert bnn("export", "--format", "onnx", "--model", "other.bnn")[0] == 0
    assert Path("bnn_model.onnx").read_bytes() == onnx_model.build(networks.committed())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: other.bnn: cannot be read"),
        (b"", "error: other.bnn: is empty: only a 1-bit network is packed"),
        (b"no model", "error: other.bnn: packed model: magic: "),
        (networks.COMMITTED.read_bytes()[:-1], "error: other.bnn: packed model: length: "),
    ],
)
def test_export_of_no_model_ends_with_a_message(content: bytes | None, message: str, bnn: Bnn) -> None:
    if content is not None:
        Path("other.bnn").write_bytes(content)
    code, output, _ = bnn("export", "--format", "c", "--model", "other.bnn", "--out", "firmware")
    assert isinstance(code, str)
    assert code.startswith(message)
    assert output == ""
    assert not Path("firmware").exists()


@pytest.mark.parametrize(
    "arguments", [("export",), ("export", "--format", "tflite"), ("summary", "--model", "ternary")]
)
def test_other_formats_and_networks_are_usage_errors(arguments: tuple[str, ...], bnn: Bnn) -> None:
    assert bnn(*arguments)[0] == 2


@pytest.mark.parametrize("format_name", ["c", "onnx"])
def test_out_that_is_a_file_is_named(format_name: str, bnn: Bnn) -> None:
    Path("taken").write_text("mine")
    code, output, _ = bnn("export", "--format", format_name, "--out", "taken")
    assert str(code).startswith("error: taken/bnn_model.")
    assert "cannot be written (File exists)" in str(code)
    assert output == ""
    assert Path("taken").read_text() == "mine"


def test_summary_as_json(bnn: Bnn) -> None:
    code, output, _ = bnn("summary", "--json")
    found = json.loads(output)
    assert code == 0
    assert list(found) == ["full", "binary"]
    full, binary = found["full"], found["binary"]
    for network in (full, binary):
        topology = topologies.PARAMS.topology(network["bits"])
        sizes = topology.weights, topology.macs
        assert (network["weights"], network["macs"]) == sizes
    assert (full["bits"], full["binary_mac_share"], full["compression_ratio"]) == (16, 0, 2)
    assert (binary["bits"], binary["binary_mac_share"]) == (1, 1)
    size = networks.COMMITTED.stat().st_size
    assert (binary["packed_bytes"], binary["compression_ratio"]) == (size, binary["float32_bytes"] / size)


def test_summary_of_one_network_as_text(bnn: Bnn) -> None:
    code, output, _ = bnn("summary", "--model", "binary")
    assert code == 0
    assert output.startswith("binary: 1 bit\n")
    assert "full" not in output
    assert bnn("summary")[1].count("convolution weights") == 2


def test_summary_of_a_network_that_cannot_be_packed_names_its_file(bnn: Bnn) -> None:
    published = weights.read(networks.COMMITTED.with_suffix(".safetensors"))
    spoilt = {name: tensor.clone() for name, tensor in published.tensors.items()}
    spoilt["head.norm.weight"][3] = float("nan")
    weights.write(Path("binary.safetensors"), dataclasses.replace(published, tensors=spoilt))
    code, *_ = bnn("summary", "--networks", ".", "--model", "binary")
    assert code == "error: binary.safetensors: head.norm: the scale of channel 3 is nan, expected a number"


def test_summary_without_networks_ends_with_a_message(bnn: Bnn) -> None:
    code, *_ = bnn("summary", "--networks", ".")
    assert isinstance(code, str)
    assert code.startswith("error: full.safetensors: cannot be read")
