"""What a network costs, layer by layer: weights, multiply-adds and bytes, by arithmetic from its topology.

The columns are those of larq's `summary`. As there, a multiply-add has the precision of its wider input, and only
convolutions count: batch norm is a comparison in the 1-bit network, and one product and sum per value in the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnlib.config import topology
from bnnlib.nn.layers import NORM_STATE
from bnnlib.nn.published import Published
from bnnlib.sweeps import results

FLOAT_BYTES = 4
HALF_BYTES = 2
HEADINGS = ("layer", "input bits", "output", "1-bit weights", "other weights", "1-bit MACs", "other MACs", "bytes")


@dataclass(frozen=True)
class Layer:
    """One convolution with its pooling and batch norm. ``output``: (channels, height, width), after pooling.

    ``other_weights``: batch norm's four values per channel, and the kernel's where it is wider than one bit.
    ``memory_bytes``: the kernel at its bit width, batch norm in the type it is published in.
    """

    name: str
    input_bits: int
    output: tuple[int, int, int]
    binary_weights: int
    other_weights: int
    binary_macs: int
    other_macs: int
    memory_bytes: int


@dataclass(frozen=True)
class Summary:
    """A network's layers and their sums.

    ``packed_bytes``: size of the packed file, in which batch norm is folded into thresholds; for a network wider than
    one bit, which has no such file, the sum of the layers. ``compression_ratio``: float32_bytes / packed_bytes (the
    inverse of larq's). ``binary_mac_share``: multiply-adds of 1 bit among all, 0 to 1.
    """

    model: str
    bits: int
    layers: tuple[Layer, ...]
    weights: int  # of convolutions
    binary_weights: int
    other_weights: int
    macs: int
    binary_macs: int
    other_macs: int
    memory_bytes: int
    float32_bytes: int
    float16_bytes: int
    packed_bytes: int
    compression_ratio: float
    binary_mac_share: float


def summarize(model: str, published: Published, packed_file: bytes | None) -> Summary:
    """Sum up a published network under a name. ``packed_file``: its packed form, None for one wider than one bit."""
    layers = tuple(_layer(sizes, published) for sizes in published.topology.layers())
    binary, other = sum(layer.binary_weights for layer in layers), sum(layer.other_weights for layer in layers)
    binary_macs, other_macs = sum(layer.binary_macs for layer in layers), sum(layer.other_macs for layer in layers)
    memory = sum(layer.memory_bytes for layer in layers)
    packed = memory if packed_file is None else len(packed_file)
    return Summary(
        model=model,
        bits=published.bits,
        layers=layers,
        weights=published.topology.weights,
        binary_weights=binary,
        other_weights=other,
        macs=binary_macs + other_macs,
        binary_macs=binary_macs,
        other_macs=other_macs,
        memory_bytes=memory,
        float32_bytes=(binary + other) * FLOAT_BYTES,
        float16_bytes=(binary + other) * HALF_BYTES,
        packed_bytes=packed,
        compression_ratio=(binary + other) * FLOAT_BYTES / packed,
        binary_mac_share=binary_macs / (binary_macs + other_macs),
    )


def table(summary: Summary) -> str:
    """The summary as text: a row for each layer, their sum, then the numbers of the whole network."""
    rows = [_row(layer) for layer in summary.layers]
    total = (summary.binary_weights, summary.other_weights, summary.binary_macs, summary.other_macs)
    rows.append(("total", "", "", *(f"{number:,}" for number in (*total, summary.memory_bytes))))
    in_bits = results.width(summary.bits)
    packed = "packed file" if summary.bits == 1 else f"at {in_bits} (no packed file)"
    figures = {
        "convolution weights": f"{summary.weights:,}",
        "multiply-adds": f"{summary.macs:,}",
        "as float32": f"{summary.float32_bytes:,} bytes",
        "as float16": f"{summary.float16_bytes:,} bytes",
        packed: f"{summary.packed_bytes:,} bytes",
        "compression ratio": f"{summary.compression_ratio:.2f}",
        "binarized multiply-adds": f"{summary.binary_mac_share:.2%}",
    }
    width = max(map(len, figures))
    lines = [f"{name:<{width}}  {value}" for name, value in figures.items()]
    return "\n".join([f"{summary.model}: {in_bits}", "", *aligned([HEADINGS, *rows]), "", *lines])


def _layer(sizes: topology.Layer, published: Published) -> Layer:
    bits = published.bits
    norms = [published.tensors[f"{sizes.name}.norm.{part}"] for part in NORM_STATE]
    norm_values = sum(norm.numel() for norm in norms)
    binary = bits == 1
    return Layer(
        name=sizes.name,
        input_bits=bits,
        output=(sizes.out_channels, sizes.out_side, sizes.out_side),
        binary_weights=sizes.weights if binary else 0,
        other_weights=norm_values + (0 if binary else sizes.weights),
        binary_macs=sizes.macs if binary else 0,
        other_macs=0 if binary else sizes.macs,
        memory_bytes=sizes.weight_bytes(bits) + sum(norm.numel() * norm.element_size() for norm in norms),
    )


def _row(layer: Layer) -> tuple[str, ...]:
    numbers = (
        layer.binary_weights,
        layer.other_weights,
        layer.binary_macs,
        layer.other_macs,
        layer.memory_bytes,
    )
    shape = "x".join(map(str, layer.output))
    return (layer.name, str(layer.input_bits), shape, *(f"{number:,}" for number in numbers))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
