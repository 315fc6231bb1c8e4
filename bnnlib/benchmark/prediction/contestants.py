"""The contestants: each computes logits from uint8 images, including normalising, binarizing and packing.

The peers run the full-precision network in the fastest form that is open to their users: the normalisation of the
pixels is folded into the first convolution, and batch norm into every convolution where that is possible (`fold`).
Both are exact except for rounding, because nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bnnlib.benchmark.prediction import onnx_peer
from bnnlib.benchmark.prediction.onnx_peer import Convolution
from bnnlib.benchmark.timing import Entry, Key
from bnnlib.core.errors import BnnError
from bnnlib.core.extras import MissingExtraError
from bnnlib.data import mnist, splits
from bnnlib.nn.layers import affine
from bnnlib.nn.published import Published, restore
from bnnlib.packed import engines, reference
from bnnlib.packed.model import PackedModel

Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

WHAT = {
    "torch_fp32": "PyTorch, float32, conv2d on contiguous maps, inference mode",
    "torch_fp32_channels_last": "the same on channels_last maps",
    "onnxruntime_fp32": "onnxruntime, float32, all graph optimisations",
    "onnxruntime_int8": "onnxruntime, static int8 (QDQ, per channel, signed), all graph optimisations",
    "reference": "the 1-bit network by the reference engine, plain NumPy: slow, so one thread and small batches only",
    "fast": "the 1-bit network by XNOR and popcount on packed words",
}
TORCH = ("torch_fp32", "torch_fp32_channels_last")
ONNXRUNTIME = ("onnxruntime_fp32", "onnxruntime_int8")
ONE_BIT = ("reference", "fast")  # the others run the full-precision network
BATCHES = (1, 64, 256, 1024)  # torch is often fastest near 256: its maps of 1024 images do not fit into the caches
LARGEST_BATCH = {"reference": 64}  # it is slow at any batch size
# The least share of predictions that equal those of the contestant's own network. Quantizing may change a few; float32
# only ties.
AGREEMENT = {"onnxruntime_int8": 0.99, "reference": 1.0, "fast": 1.0}
FLOAT_AGREEMENT = 0.998


class ContestantError(BnnError):
    """A contestant does not predict like its network, so its speed would mean nothing."""


@dataclass(frozen=True)
class Contestant:
    """One way to predict. ``prepare`` is called before each sample, to set what is global to the process."""

    name: str
    threads: int
    logits: Logits
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Check:
    """Shares of the images: predicted as labelled, and predicted as by the contestant's own network."""

    accuracy: float
    agreement: float


def fold(published: Published) -> list[Convolution]:
    """The layers of the full-precision network, with batch norm and the normalisation of the pixels folded in.

    Batch norm comes after the pooling. The largest value of a window stays the largest only if the scale is not
    negative: a layer that pools and has a negative scale keeps its scales separate.
    """
    # w (x / WHITE - MEAN) / STD = (w / WHITE / STD) x - w MEAN / STD
    divisor, mean = mnist.WHITE * mnist.STD, mnist.MEAN / mnist.STD
    folded = []
    for layer in restore(published).layers():
        weight = layer.weight.double()
        scale, offset = (each.double() for each in affine(layer.norm))
        bias = offset - scale * mean * weight.sum(dim=(1, 2, 3))
        folded.append(_folded(weight / divisor, scale, bias, layer.pool))
        divisor, mean = 1, 0  # of all inputs except the image
    return folded


def _folded(weight: Tensor, scale: Tensor, bias: Tensor, pool: int) -> Convolution:
    """A layer with its scales in the weights if it does not pool or if none is negative, else beside them."""
    if pool == 1 or bool((scale >= 0).all()):
        return Convolution(_float32(weight * scale[:, None, None, None]), _float32(bias), pool, None)
    return Convolution(_float32(weight), _float32(bias), pool, _float32(scale))


def _float32(values: Tensor) -> NDArray[np.float32]:
    return values.float().numpy()


def torch_logits(layers: Sequence[Convolution], memory_format: torch.memory_format) -> Logits:
    """Images to logits by torch, with maps in that format."""
    *hidden, last = layers
    blocks = [_torch_block(layer, memory_format) for layer in hidden]
    head, head_bias = _torch_parameters(last, memory_format)

    @torch.inference_mode()
    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = torch.from_numpy(images)[:, None].float().contiguous(memory_format=memory_format)  # (n, 1, 28, 28)
        for block in blocks:
            x = block(x)
        return functional.conv2d(x, head, head_bias).flatten(1).numpy()  # (n, 10)

    return logits


def _torch_block(layer: Convolution, memory_format: torch.memory_format) -> Callable[[Tensor], Tensor]:
    """Convolution, pooling and ReLU: (n, in, h, w) -> (n, out, h', w').

    ReLU comes before the pooling where possible: the result is the same, and torch pools maps with many zeros faster.
    """
    weight, bias = _torch_parameters(layer, memory_format)
    if layer.scale is None:
        return lambda x: _pool(functional.conv2d(x, weight, bias).relu_(), layer.pool)
    scale, offset = torch.from_numpy(layer.scale)[:, None, None], bias[:, None, None]
    return lambda x: _pool(functional.conv2d(x, weight), layer.pool).mul_(scale).add_(offset).relu_()


def _torch_parameters(layer: Convolution, memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    weight = torch.from_numpy(layer.weight).contiguous(memory_format=memory_format)
    return weight, torch.from_numpy(layer.bias)


def _pool(x: Tensor, side: int) -> Tensor:
    return functional.max_pool2d(x, side) if side > 1 else x


def of_torch(layers: Sequence[Convolution], threads: int) -> list[Contestant]:
    """Torch in both layouts."""
    formats = dict(zip(TORCH, (torch.contiguous_format, torch.channels_last), strict=True))
    return [
        Contestant(name, threads, torch_logits(layers, each), lambda: torch.set_num_threads(threads))
        for name, each in formats.items()
    ]


def of_onnxruntime(
    layers: Sequence[Convolution], calibration: NDArray[np.uint8], thread_counts: Sequence[int]
) -> tuple[list[Contestant], dict[str, str]]:
    """Onnxruntime in float32 and int8; if it or onnx is missing: none, and the reason by contestant."""
    try:
        onnx_peer.require()
    except MissingExtraError as error:
        return [], dict.fromkeys(ONNXRUNTIME, str(error))
    plain = onnx_peer.graph(layers)
    contents = dict(zip(ONNXRUNTIME, (plain, onnx_peer.quantize(plain, calibration)), strict=True))
    found = [
        Contestant(name, threads, onnx_peer.session(content, threads))
        for threads in thread_counts
        for name, content in contents.items()
    ]
    return found, {}


def of_ours(model: PackedModel, thread_counts: Sequence[int]) -> list[Contestant]:
    """Both engines of the packed network, the reference on one thread."""
    fast = [Contestant("fast", threads, engines.fast(model, threads).logits) for threads in thread_counts]
    return [Contestant("reference", 1, reference.Engine(model).logits), *fast]


def check(contestant: Contestant, data: splits.Split, full: NDArray[np.intp], one_bit: NDArray[np.intp]) -> Check:
    """Predict labelled images; `ContestantError` if too few predictions are those of the contestant's network.

    ``full`` and ``one_bit``: the predictions (n,) of the two networks.
    """
    contestant.prepare()
    found = contestant.logits(data.images).argmax(axis=1)
    expected = one_bit if contestant.name in ONE_BIT else full
    same = agreement(contestant.name, found, expected, AGREEMENT.get(contestant.name, FLOAT_AGREEMENT))
    return Check(float((found == data.labels).mean()), same)


def agreement(name: str, found: NDArray[np.intp], expected: NDArray[np.intp], wanted: float) -> float:
    """The share of predictions that are those of the contestant's network; `ContestantError` if too small."""
    share = float((found == expected).mean())
    if share < wanted:
        raise ContestantError(
            f"{name}: {share:.2%} of {len(found)} predictions are those of its network, expected "
            f"{wanted:.2%} or more: its speed is not measured"
        )
    return share


def entries(contestants: Iterable[Contestant], images: NDArray[np.uint8]) -> list[Entry]:
    """What to time: each contestant with each batch size that it takes and the images suffice for."""
    return [
        _entry(contestant, images[:batch])
        for contestant in contestants
        for batch in BATCHES
        if batch <= min(len(images), LARGEST_BATCH.get(contestant.name, len(images)))
    ]


def _entry(contestant: Contestant, batch: NDArray[np.uint8]) -> Entry:
    key = Key(contestant.name, contestant.threads, len(batch))
    return Entry(key, lambda: contestant.logits(batch), contestant.prepare)
