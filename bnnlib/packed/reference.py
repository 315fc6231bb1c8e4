"""The reference engine: plain NumPy integers, slow and obvious. Every other engine is compared with it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed import model as packed
from bnnlib.packed.model import Head, PackedModel

Sums: TypeAlias = NDArray[np.int16] | NDArray[np.int32]

# Largest size of the maps of one chunk of images: small enough for the processor's cache.
CHUNK_BYTES = 4 << 20


def dots(model: PackedModel, images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The head's integer dot products, int32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
    packed.check_images(model, images)
    found = np.empty((len(images), len(model.head.weights)), np.int32)
    step = _chunk(model)
    for start in range(0, len(images), step):
        found[start : start + step] = _dots(model, images[start : start + step])
    return found


def logits(model: PackedModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits, float32 (n, classes). images: uint8 (n, side, side), else `ModelError`."""
    return affine(model.head, dots(model, images))


def affine(head: Head, dots: NDArray[np.int32], passes: int = 1) -> NDArray[np.float32]:
    """Logits of the head's dot products, (n, classes), or the mean of those of several passes, whose dots are added.

    Every engine rounds the product, then the sum, to float32.
    """
    logits = dots.astype(np.float32)
    logits *= head.scale / np.float32(passes)
    logits += head.offset
    return logits


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax in float64 of logits, float32 (n, classes): each row sums to 1."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)  # exp of the largest is 1: no overflow
    powers = np.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)


class Engine:
    """The reference with the interface of the fast engine."""

    def __init__(self, model: PackedModel) -> None:
        self.model = model

    def dots(self, images: NDArray[np.uint8]) -> NDArray[np.int32]:
        """See `dots` of this module."""
        return dots(self.model, images)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `logits` of this module."""
        return logits(self.model, images)


def _dots(model: PackedModel, images: NDArray[np.uint8]) -> Sums:
    """`dots` of one chunk. The images are the last axis, because NumPy is fastest along the last axis."""
    last = np.ascontiguousarray(images.transpose(1, 2, 0))
    bits = np.stack([last >= threshold for threshold in model.input_thresholds])  # (planes, side, side, n)
    for block in model.blocks:
        sums = _pool(_convolve(bits, block.weights), block.pool)
        bits = (sums >= block.thresholds[:, None, None, None]) != block.flipped[:, None, None, None]
    return _convolve(bits, model.head.weights)[:, 0, 0].T


def _convolve(bits: NDArray[np.bool_], weights: NDArray[np.bool_]) -> Sums:
    """Valid convolution of values +1 and -1: (in, h, w, n), (out, in, k, k) -> (out, h - k + 1, w - k + 1, n).

    One place of the kernel after the other; in int16 if every sum fits it.
    """
    kind = np.int16 if weights[0].size <= np.iinfo(np.int16).max else np.int32
    x, w = _values(bits, kind), _values(weights, kind)
    kernel = w.shape[2]
    height, width = x.shape[1] - kernel + 1, x.shape[2] - kernel + 1
    sums = np.zeros((len(w), height, width, x.shape[3]), kind)
    for i in range(kernel):
        for j in range(kernel):
            sums += np.einsum("oc,cyxn->oyxn", w[:, :, i, j], x[:, i : i + height, j : j + width])
    return sums


def _pool(sums: Sums, pool: int) -> Sums:
    """The maximum of each window: (out, h, w, n) -> (out, h // pool, w // pool, n)."""
    channels, height, width, images = sums.shape
    rows, columns = height // pool, width // pool
    filled = sums[:, : rows * pool, : columns * pool]  # without the rows and columns that do not fill a window
    return filled.reshape(channels, rows, pool, columns, pool, images).max(axis=(2, 4))


def _values(bits: NDArray[np.bool_], kind: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """Bits as numbers of a type: 1 becomes +1, 0 becomes -1."""
    return np.where(bits, kind(1), kind(-1))


def _chunk(model: PackedModel) -> int:
    """Number of images for which the input, sums and products of every layer stay below `CHUNK_BYTES`."""
    largest = 0
    for shape, side in zip(model.shapes(), model.sides(), strict=True):
        left = side - shape.kernel + 1  # before pooling
        largest = max(largest, shape.in_channels * side**2 + 2 * shape.out_channels * left**2)
    return max(1, CHUNK_BYTES // (largest * np.dtype(np.int32).itemsize))
