"""A graph of ONNX operations, built node by node: images in, logits out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.extras import needed

Constant: TypeAlias = NDArray[np.float32] | NDArray[np.int64]

# Old enough for the runtimes since 2022, and new enough for all operations of our graphs.
OPSET = 17
IR_VERSION = 8
FLOAT, UINT8 = 1, 2  # onnx.TensorProto's numbers of these types


class Node(NamedTuple):
    """An operation with one output, which has the node's name."""

    name: str
    operation: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """Nodes and constants, in the order in which they were added. Input ``images``, output ``logits``."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)

    def add(self, operation: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Append a node; return its name."""
        if name is None:
            name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(name, operation, inputs, attributes))
        return name

    def max_pool(self, x: str, pool: int) -> str:
        """Pooling in windows of side ``pool``; rows and columns that do not fill a window are dropped; 1: none."""
        return self.add("MaxPool", x, kernel_shape=[pool, pool], strides=[pool, pool]) if pool > 1 else x

    def constant(self, name: str, value: Constant) -> str:
        """Add a constant; return its name."""
        self.constants[name] = value
        return name

    def to_bytes(self, name: str, side: int, classes: int) -> bytes:
        """The model's bytes, the same each time: uint8 (n, side, side) -> float32 (n, classes).

        `MissingExtraError` if the package onnx is missing.
        """
        with needed("onnx", "an ONNX model"):
            from onnx import helper, numpy_helper
        nodes = [
            helper.make_node(node.operation, node.inputs, [node.name], name=node.name, **node.attributes)
            for node in self.nodes
        ]
        images = helper.make_tensor_value_info("images", UINT8, ["n", side, side])
        logits = helper.make_tensor_value_info("logits", FLOAT, ["n", classes])
        constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()]
        model = helper.make_model(
            helper.make_graph(nodes, name, [images], [logits], constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="bnnlib",
        )
        content: bytes = model.SerializeToString(deterministic=True)
        return content
