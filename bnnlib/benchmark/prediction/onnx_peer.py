"""The full-precision network for onnxruntime: float32, and int8 quantized as its documentation recommends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.extras import needed
from bnnlib.data import mnist
from bnnlib.export.onnx_graph import FLOAT, Graph

BATCH = 64  # images per step of the calibration


class Convolution(NamedTuple):
    """A folded layer: a convolution, then pooling in windows of side ``pool``.

    ``weight``: float32 (out, in, kernel, kernel). ``bias``: float32 (out,). ``scale``: None, or float32 (out,), by
    which the pooled dot products are multiplied before the bias is added.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    pool: int
    scale: NDArray[np.float32] | None


def require() -> None:
    """Raise `MissingExtraError` if onnx or onnxruntime is missing."""
    with needed("peers", "the comparison with onnxruntime"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401


def graph(layers: Sequence[Convolution]) -> bytes:
    """ONNX bytes of convolutions with ReLUs between: input ``images`` uint8 (n, 28, 28), output ``logits`` float32.

    A scale is a BatchNormalization, which onnxruntime runs faster than a product and a sum.
    """
    built = Graph()
    x = built.add("Cast", built.add("Unsqueeze", "images", built.constant("axis", np.array([1]))), to=FLOAT)
    for i, layer in enumerate(layers):
        x = built.add("Relu", x) if i > 0 else x
        weight, bias = built.constant(f"weight{i}", layer.weight), built.constant(f"bias{i}", layer.bias)
        x = built.add("Conv", x, weight, *([bias] if layer.scale is None else []))
        x = built.max_pool(x, layer.pool)
        if layer.scale is not None:
            scale = built.constant(f"scale{i}", layer.scale)
            mean = built.constant(f"mean{i}", np.zeros_like(layer.scale))
            variance = built.constant(f"variance{i}", np.ones_like(layer.scale))
            x = built.add("BatchNormalization", x, scale, bias, mean, variance, epsilon=0.0)
    built.add("Flatten", x, name="logits")
    return built.to_bytes("full", mnist.SIDE, mnist.CLASSES)


def quantize(content: bytes, images: NDArray[np.uint8]) -> bytes:
    """Static int8: QDQ, per channel, ranges calibrated on training images; needs onnxruntime.

    Activations are signed like the weights: faster than unsigned ones where both were tried, and as accurate.
    """
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
    """Images to logits by onnxruntime, all optimisations on."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    made = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: made.run(["logits"], {"images": images})[0]


def _reader(images: NDArray[np.uint8]) -> Any:
    """The iterator from which the quantizer takes its batches."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batches: Iterator[dict[str, NDArray[np.uint8]]]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._batches, None)

    return Reader({"images": images[i : i + BATCH]} for i in range(0, len(images), BATCH))
