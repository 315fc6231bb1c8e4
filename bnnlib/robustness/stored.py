"""A network as the numbers that its file stores, and what it answers with other ones in their place.

Sizes, passes, checksums and padding do not count, nor do input thresholds: how the wider networks scale their input is
in no file either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bnnlib.nn.published import Published, restore
from bnnlib.packed import engines
from bnnlib.packed.model import Block, Head, PackedModel, names
from bnnlib.packed.reference import affine
from bnnlib.robustness.bits import Arrays
from bnnlib.scoring import evaluation

Images = NDArray[np.uint8]  # (n, 28, 28)
Logits = NDArray[np.float32]  # (n, 10)


@dataclass(frozen=True)
class Stored:
    """``weights``, and ``norms``: all else that is stored and decides an answer, as batch norm or as thresholds.

    ``logits``: those that the network gives with all arrays, perhaps changed ones, by their names.
    """

    bits: int
    weights: Arrays
    norms: Arrays
    logits: Callable[[Arrays, Images], Logits]


def of_published(published: Published) -> Stored:
    """A network of safetensors, run by torch. Its arrays are sorted, because safetensors reads in random order."""
    arrays = {name: tensor.detach().numpy() for name, tensor in sorted(published.tensors.items())}
    norms = {name: array for name, array in arrays.items() if ".norm." in name}
    weights = {name: array for name, array in arrays.items() if name not in norms}
    return Stored(published.bits, weights, norms, partial(_published_logits, published))


def _published_logits(published: Published, arrays: Arrays, images: Images) -> Logits:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    found = evaluation.logits(restore(replace(published, tensors=tensors)), torch.from_numpy(images))
    return found.numpy()


def of_packed(model: PackedModel) -> Stored:
    """A packed network, run by the fast engine; `EngineError` where that cannot be."""
    weights: dict[str, NDArray[Any]] = {}
    norms: dict[str, NDArray[Any]] = {}
    for name, layer in zip(names(len(model.blocks)), model.layers(), strict=True):
        parts = ("thresholds", "flipped") if isinstance(layer, Block) else ("scale", "offset")
        weights[f"{name}.weights"] = layer.weights
        norms |= {f"{name}.{part}": getattr(layer, part) for part in parts}
    return Stored(1, weights, norms, partial(_packed_logits, model))


def _packed_logits(model: PackedModel, arrays: Arrays, images: Images) -> Logits:
    """The engine computes the dot products: it takes finite scales alone, and they do not need the head's numbers."""
    *inner, last = names(len(model.blocks))
    blocks = [_block(block, name, arrays) for name, block in zip(inner, model.blocks, strict=True)]
    weights = arrays[f"{last}.weights"]
    changed = replace(model, blocks=tuple(blocks), head=replace(model.head, weights=weights))
    dots = engines.fast(changed).dots(images)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are answers, too
        return affine(Head(weights, arrays[f"{last}.scale"], arrays[f"{last}.offset"]), dots)


def _block(block: Block, name: str, arrays: Arrays) -> Block:
    """The block with changed numbers. The engine takes no threshold beyond all dot products, where it says the same.

    From -K down every dot product reaches it, from K + 1 up none does.
    """
    fan_in = block.weights[0].size
    thresholds = arrays[f"{name}.thresholds"].clip(-fan_in, fan_in + 1)
    return replace(block, weights=arrays[f"{name}.weights"], thresholds=thresholds, flipped=arrays[f"{name}.flipped"])
