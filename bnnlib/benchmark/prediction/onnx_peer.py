"""The full-precision network for onnxruntime: as float32, and quantized to int8 the way its documentation says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.data import mnist
from bnnlib.export.onnx_model import IR_VERSION, OPSET

if TYPE_CHECKING:
    from onnx import NodeProto

BATCH = 64  # images of one step of the calibration


class PeerError(BnnError):
    """A peer that is not installed."""


class Convolution(NamedTuple):
    """What is left of a layer: a convolution, then pooling in windows of side ``pool``.

    ``weight``: float32 (out, in, kernel, kernel). ``bias``: float32 (out,). ``scale``: None, or float32 (out,), by
    which the pooled dot products are multiplied before the bias is added.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    pool: int
    scale: NDArray[np.float32] | None


def graph(layers: Sequence[Convolution]) -> bytes:
    """ONNX bytes of convolutions with ReLU between: input ``images`` uint8 (n, 28, 28), output ``logits`` float32.

    A scale is a BatchNormalization, which onnxruntime runs faster than a product and a sum.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise PeerError(f"needs the package onnx ({error}): pip install 'bnnlib[peers]'") from error

    constants: dict[str, NDArray[Any]] = {"axis": np.array([1])}
    nodes: list[NodeProto] = []

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=f"{name}_node", **attributes))
        return name

    x = add("Cast", add("Unsqueeze", "images", "axis"), to=TensorProto.FLOAT)
    for i, layer in enumerate(layers):
        x = add("Relu", x) if i > 0 else x
        constants |= {f"weight{i}": layer.weight, f"bias{i}": layer.bias}
        x = add("Conv", x, f"weight{i}", *([f"bias{i}"] if layer.scale is None else []))
        if layer.pool > 1:
            x = add("MaxPool", x, kernel_shape=[layer.pool] * 2, strides=[layer.pool] * 2)
        if layer.scale is not None:
            zeros, ones = np.zeros_like(layer.scale), np.ones_like(layer.scale)
            constants |= {f"scale{i}": layer.scale, f"mean{i}": zeros, f"variance{i}": ones}
            x = add("BatchNormalization", x, f"scale{i}", f"bias{i}", f"mean{i}", f"variance{i}", epsilon=0.0)
    add("Flatten", x)
    nodes[-1].output[0] = "logits"
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "full",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", mnist.SIDE, mnist.SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", mnist.CLASSES])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bnnlib",
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def quantize(content: bytes, images: NDArray[np.uint8]) -> bytes:
    """Static int8: QDQ, per channel, ranges calibrated on training images; `PeerError` without onnxruntime.

    Activations are signed as the weights: faster than unsigned ones where it was tried, and as accurate.
    """
    _require_onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:  # the quantizer reads and writes files
        plain, ready, quantized = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "quantized"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(quantized),
            _reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return quantized.read_bytes()


def session(content: bytes, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Images to logits by onnxruntime, all optimisations on; `PeerError` where it is missing."""
    _require_onnxruntime()
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    made = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: made.run(["logits"], {"images": images})[0]


def _require_onnxruntime() -> None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise PeerError(f"needs the package onnxruntime ({error}): pip install 'bnnlib[peers]'") from error


def _reader(images: NDArray[np.uint8]) -> Any:
    """What the quantizer asks for the next batch until there is none."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batches: Iterator[dict[str, NDArray[np.uint8]]]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._batches, None)

    return Reader({"images": images[i : i + BATCH]} for i in range(0, len(images), BATCH))
