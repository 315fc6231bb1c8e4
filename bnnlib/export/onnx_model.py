"""The 1-bit network as an ONNX model: bits become -1 and +1 in float32, so every convolution is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bnnlib.export.onnx_graph import FLOAT, Graph
from bnnlib.packed.model import Block, PackedModel


def build(model: PackedModel) -> bytes:
    """ONNX bytes, the same each time: input ``images`` uint8 (n, side, side), output ``logits`` float32 (n, classes).

    Sums of up to 2**22 values -1 and +1 are exact in float32, so a runtime may add them in any order; the largest of a
    pooling window is exact too. The product and the sum of the logits are separate nodes behind a Reshape: directly
    behind the convolution, a runtime would fold them into its weights and round differently.
    `MissingExtraError` if the package onnx is missing.
    """
    graph = Graph()
    planes = _add_input(graph, model)
    last = _add_blocks(graph, model, planes)
    _add_head(graph, model, last)
    return graph.to_bytes("bnn", model.side, len(model.head.weights))


def _add_input(graph: Graph, model: PackedModel) -> str:
    """Binarize the images into planes of -1 and +1, (n, planes, side, side)."""
    pixels = graph.add("Unsqueeze", "images", graph.constant("channel_axis", np.array([1])))  # (n, 1, side, side)
    pixels = graph.add("Cast", pixels, to=FLOAT)
    thresholds = graph.constant("input_thresholds", _per_channel(np.array(model.input_thresholds, np.int32)))
    reached = graph.add("GreaterOrEqual", pixels, thresholds)  # (n, planes, side, side)
    plus, minus = graph.constant("plus", np.array(1, np.float32)), graph.constant("minus", np.array(-1, np.float32))
    return graph.add("Where", reached, plus, minus)


def _add_blocks(graph: Graph, model: PackedModel, x: str) -> str:
    """Convolve, pool and compare, block after block: (n, planes, side, side) -> (n, channels, left, left)."""
    for i, block in enumerate(model.blocks):
        x = graph.add("Conv", x, graph.constant(f"block_{i}.weights", _signs(block.weights)))
        x = graph.max_pool(x, block.pool)
        thresholds = graph.constant(f"block_{i}.thresholds", _per_channel(block.thresholds))
        reached, on = graph.add("GreaterOrEqual", x, thresholds), _on(block)
        x = graph.add("Where", reached, graph.constant(f"block_{i}.on", on), graph.constant(f"block_{i}.off", -on))
    return x


def _add_head(graph: Graph, model: PackedModel, x: str) -> None:
    """The head's dot products, scaled and shifted: the output ``logits``."""
    head = model.head
    dots = graph.add("Conv", x, graph.constant("head.weights", _signs(head.weights)))  # (n, classes, 1, 1)
    flat = graph.add("Reshape", dots, graph.constant("flat_shape", np.array([-1, len(head.weights)])))
    scaled = graph.add("Mul", flat, graph.constant("head.scale", head.scale))
    graph.add("Add", scaled, graph.constant("head.offset", head.offset), name="logits")


def _signs(bits: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 becomes +1, 0 becomes -1."""
    return np.where(bits, 1, -1).astype(np.float32)


def _per_channel(values: NDArray[np.int32]) -> NDArray[np.float32]:
    """(channels,) -> (channels, 1, 1), to broadcast over (n, channels, h, w)."""
    return values.astype(np.float32).reshape(-1, 1, 1)


def _on(block: Block) -> NDArray[np.float32]:
    """The value of each channel where its threshold is reached: +1, or -1 where the comparison is flipped."""
    return _signs(~block.flipped).reshape(-1, 1, 1)
