"""The summary against figures worked by hand."""

from __future__ import annotations

import pytest
import torch

from bnnlib import models, summary
from bnnlib.models import ConvNet
from bnnlib.params import Quantization

# name, output, kernel weights, batch-norm values (4 per channel), multiply-adds
LAYERS = [
    ("blocks.0", (32, 20, 20), 32 * 81, 128, 32 * 81 * 400),
    ("blocks.1", (16, 12, 12), 16 * 32 * 81, 64, 16 * 32 * 81 * 144),
    ("blocks.2", (8, 4, 4), 8 * 16 * 81, 32, 8 * 16 * 81 * 16),
    ("head", (10, 1, 1), 10 * 8 * 16, 40, 10 * 8 * 16),
]
WEIGHTS = 55_712
MACS = 7_175_936
VALUES = WEIGHTS + 264


def of(bits: int, packed_file: bytes | None = None) -> summary.Summary:
    torch.manual_seed(0)
    return summary.summarize("network", models.publish(ConvNet(Quantization(bits=bits)), epoch=0), packed_file)


def test_layers_of_the_binary_network() -> None:
    found = of(1, b"x" * 7000)
    expected = [
        summary.Layer(name, 1, output, kernel, norm, macs, 0, kernel // 8 + 4 * norm)
        for name, output, kernel, norm, macs in LAYERS
    ]
    assert list(found.layers) == expected


@pytest.mark.parametrize(("bits", "norm_bytes"), [(2, 4), (4, 4), (8, 4), (16, 2), (32, 4)])
def test_layers_of_wider_networks(bits: int, norm_bytes: int) -> None:
    expected = [
        summary.Layer(name, bits, output, 0, kernel + norm, 0, macs, kernel * bits // 8 + norm_bytes * norm)
        for name, output, kernel, norm, macs in LAYERS
    ]
    assert list(of(bits).layers) == expected


def test_totals_of_the_binary_network() -> None:
    found = of(1, b"x" * 7000)
    assert (found.weights, found.binary_weights, found.other_weights) == (WEIGHTS, WEIGHTS, 264)
    assert (found.macs, found.binary_macs, found.other_macs) == (MACS, MACS, 0)
    assert (found.float32_bytes, found.float16_bytes) == (4 * VALUES, 2 * VALUES)
    assert (found.memory_bytes, found.packed_bytes) == (6_964 + 4 * 264, 7000)
    assert found.compression_ratio == 4 * VALUES / 7000
    assert found.binary_mac_share == 1


def test_totals_of_the_16_bit_network() -> None:
    found = of(16)
    assert (found.weights, found.binary_weights, found.other_weights) == (WEIGHTS, 0, VALUES)
    assert (found.macs, found.binary_macs, found.other_macs) == (MACS, 0, MACS)
    assert found.memory_bytes == found.packed_bytes == found.float16_bytes == 2 * VALUES
    assert found.compression_ratio == 2
    assert found.binary_mac_share == 0


def test_table() -> None:
    lines = summary.table(of(1, b"x" * 7000)).splitlines()
    assert lines[0] == "network: 1 bit"
    assert lines[2].split("  ")[0] == "layer"
    assert len({len(line) for line in lines[2:8]}) == 1  # headings, four layers, their sum: aligned
    assert lines[4].split() == ["blocks.1", "1", "16x12x12", "41,472", "64", "5,971,968", "0", "5,440"]
    assert lines[7].split() == ["total", "55,712", "264", "7,175,936", "0", "8,020"]
    assert lines[9:] == [
        "convolution weights      55,712",
        "multiply-adds            7,175,936",
        "as float32               223,904 bytes",
        "as float16               111,952 bytes",
        "packed file              7,000 bytes",
        "compression ratio        31.99",
        "binarized multiply-adds  100.00%",
    ]
