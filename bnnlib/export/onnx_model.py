"""The 1-bit network as an ONNX model: bits as -1 and +1 in float32, so that every convolution is an exact integer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed.model import Block, PackedModel

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Old enough for runtimes of 2022 and later, and all that the graph needs.
OPSET = 17
IR_VERSION = 8


class OnnxExportError(BnnError):
    """The package onnx is missing."""


def build(model: PackedModel) -> bytes:
    """ONNX bytes, the same each time: input ``images`` uint8 (n, side, side), output ``logits`` float32 (n, classes).

    Sums of up to 2**22 values -1 and +1 are exact in float32, so that a runtime may convolve as it likes; the largest
    of a pooling window is exact too. The logits' product and sum are nodes of their own behind a Reshape: a runtime
    that finds them right behind the convolution folds them into its weights, and rounds differently.
    `OnnxExportError` where the package onnx is missing.
    """
    proto: bytes = _graph(model).SerializeToString(deterministic=True)
    return proto


def _graph(model: PackedModel) -> ModelProto:
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise OnnxExportError(f"an ONNX model needs the package onnx ({error}): pip install 'bnnlib[peers]'") from error

    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
    nodes: list[NodeProto] = []

    def add(operation: str, *inputs: str, **attributes: Any) -> str:
        """Append a node, which gives one value; return the name of that."""
        name = f"{operation.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operation, list(inputs), [name], name=name, **attributes))
        return name

    def constant(name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        constants[name] = value
        return name

    pixels = add("Cast", add("Unsqueeze", "images", constant("channel_axis", np.array([1]))), to=TensorProto.FLOAT)
    thresholds = constant("input_thresholds", _per_channel(np.array(model.input_thresholds, np.int32)))
    lit = add("GreaterOrEqual", pixels, thresholds)  # (n, 1, side, side) and (planes, 1, 1): (n, planes, side, side)
    plus, minus = constant("plus", np.array(1, np.float32)), constant("minus", np.array(-1, np.float32))
    x = add("Where", lit, plus, minus)
    for i, block in enumerate(model.blocks):
        x = add("Conv", x, constant(f"block_{i}.weights", _signs(block.weights)))  # (n, channels, side', side')
        if block.pool > 1:
            window = [block.pool, block.pool]
            x = add("MaxPool", x, kernel_shape=window, strides=window)  # leaves out what does not fill a window
        reached = add("GreaterOrEqual", x, constant(f"block_{i}.thresholds", _per_channel(block.thresholds)))
        on = _on(block)
        x = add("Where", reached, constant(f"block_{i}.on", on), constant(f"block_{i}.off", -on))
    dots = add("Conv", x, constant("head.weights", _signs(model.head.weights)))  # (n, classes, 1, 1)
    classes = len(model.head.weights)
    flat = add("Reshape", dots, constant("flat_shape", np.array([-1, classes])))
    scaled = add("Mul", flat, constant("head.scale", model.head.scale))
    nodes.append(
        helper.make_node("Add", [scaled, constant("head.offset", model.head.offset)], ["logits"], name="logits")
    )
    graph = helper.make_graph(
        nodes,
        "bnn",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", model.side, model.side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bnnlib")


def _signs(bits: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(bits, 1, -1).astype(np.float32)


def _per_channel(values: NDArray[np.int32]) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(-1, 1, 1)  # (channels, 1, 1), to broadcast over (n, channels, h, w)


def _on(block: Block) -> NDArray[np.float32]:
    """The value of each channel where its threshold is reached: +1, or -1 where the comparison is flipped."""
    return _signs(~block.flipped).reshape(-1, 1, 1)
