"""The summary against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from support import topologies

from bnnlib.config.spec import Bits, Quantization
from bnnlib.config.topology import Block, Topology
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import publish
from bnnlib.report import summary

TOPOLOGY = Topology(input=(34, 128), blocks=(Block(channels=6, kernel=5, pool=2), Block(channels=7, kernel=4, pool=1)))
# name, output, kernel weights at 1 bit, at more, batch-norm values (4 per channel), pixels between convolution and
# pooling. Sides: 28 - 5 + 1 = 24, 24 / 2 = 12, 12 - 4 + 1 = 9.
LAYERS = [
    ("blocks.0", (6, 12, 12), 6 * 2 * 25, 6 * 25, 24, 24 * 24),
    ("blocks.1", (7, 9, 9), 7 * 6 * 16, 7 * 6 * 16, 28, 9 * 9),
    ("head", (10, 1, 1), 10 * 7 * 81, 10 * 7 * 81, 40, 1),
]
WEIGHTS, WIDE_WEIGHTS = 300 + 672 + 5_670, 150 + 672 + 5_670
MACS, WIDE_MACS = 300 * 576 + 672 * 81 + 5_670, 150 * 576 + 672 * 81 + 5_670
NORM = 92


def of(bits: Bits, packed_file: bytes | None = None, topology: Topology = TOPOLOGY) -> summary.Summary:
    torch.manual_seed(0)
    network = ConvNet(topology, Quantization(bits=bits))
    return summary.summarize("network", publish(network, epoch=0), packed_file)


def test_layers_of_the_binary_network() -> None:
    expected = [
        summary.Layer(name, 1, output, kernel, norm, kernel * pixels, 0, -(-kernel // 8) + 4 * norm)
        for name, output, kernel, _, norm, pixels in LAYERS
    ]
    assert list(of(1, b"x" * 1000).layers) == expected
    assert expected[0].memory_bytes == 38 + 96  # 37.5 bytes of weights, rounded up


@pytest.mark.parametrize(("bits", "norm_bytes"), [(2, 4), (4, 4), (8, 4), (16, 2), (32, 4)])
def test_layers_of_wider_networks(bits: Bits, norm_bytes: int) -> None:
    expected = [
        summary.Layer(
            name, bits, output, 0, kernel + norm, 0, kernel * pixels, -(-kernel * bits // 8) + norm_bytes * norm
        )
        for name, output, _, kernel, norm, pixels in LAYERS
    ]
    assert list(of(bits).layers) == expected


def test_totals_of_the_binary_network() -> None:
    found = of(1, b"x" * 1000)
    assert (found.weights, found.binary_weights, found.other_weights) == (WEIGHTS, WEIGHTS, NORM)
    assert (found.macs, found.binary_macs, found.other_macs) == (MACS, MACS, 0)
    assert (found.float32_bytes, found.float16_bytes) == (4 * (WEIGHTS + NORM), 2 * (WEIGHTS + NORM))
    assert (found.memory_bytes, found.packed_bytes) == (38 + 84 + 709 + 4 * NORM, 1000)
    assert found.compression_ratio == 4 * (WEIGHTS + NORM) / 1000
    assert found.binary_mac_share == 1


def test_totals_of_the_16_bit_network() -> None:
    found = of(16)
    values = WIDE_WEIGHTS + NORM
    assert (found.weights, found.binary_weights, found.other_weights) == (WIDE_WEIGHTS, 0, values)
    assert (found.macs, found.binary_macs, found.other_macs) == (WIDE_MACS, 0, WIDE_MACS)
    assert found.memory_bytes == found.packed_bytes == found.float16_bytes == 2 * values
    assert found.compression_ratio == 2
    assert found.binary_mac_share == 0


@pytest.mark.parametrize("bits", [1, 16])
@pytest.mark.parametrize("topology", [topologies.BASELINE, topologies.SMALL, topologies.UNEVEN])
def test_outputs_are_those_of_the_network(topology: Topology, bits: Bits) -> None:
    model, shapes = ConvNet(topology, Quantization(bits=bits)), []
    for layer in model.layers():
        layer.register_forward_hook(lambda _layer, _inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(2, 28, 28, dtype=torch.uint8))
    assert [layer.output for layer in of(bits, b"x", topology).layers] == shapes


def test_table() -> None:
    lines = summary.table(of(1, b"x" * 1000)).splitlines()
    assert lines[0] == "network: 1 bit"
    assert lines[2].split("  ")[0] == "layer"
    assert len({len(line) for line in lines[2:7]}) == 1  # headings, three layers, their sum: aligned
    assert lines[3].split() == ["blocks.0", "1", "6x12x12", "300", "24", "172,800", "0", "134"]
    assert lines[6].split() == ["total", "6,642", "92", "232,902", "0", "1,199"]
    assert lines[8:] == [
        "convolution weights      6,642",
        "multiply-adds            232,902",
        "as float32               26,936 bytes",
        "as float16               13,468 bytes",
        "packed file              1,000 bytes",
        "compression ratio        26.94",
        "binarized multiply-adds  100.00%",
    ]


def test_table_of_a_network_without_a_packed_file() -> None:
    found = of(16)
    lines = summary.table(found).splitlines()
    assert lines[0] == "network: 16 bits"
    assert f"at 16 bits (no packed file)  {found.memory_bytes:,} bytes" in lines
