"""Do the trained network, the reference engine and the fast engine compute the same? Image by image, bit by bit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bnnlib.nn import quantizers
from bnnlib.nn.convnet import ConvNet
from bnnlib.packed import reference
from bnnlib.packed.engines import Engine
from bnnlib.packed.model import PackedModel
from bnnlib.scoring import evaluation


@dataclass(frozen=True)
class Outputs:
    """What an engine computes: the head's dot products and the logits, float32; both (n, classes).

    ``dots`` are int32, or torch's float32 as they are: a fraction would be a difference.
    """

    dots: NDArray[np.int32] | NDArray[np.float32]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """Images that two engines were given, and how many of their numbers differ: those of all classes, then classes."""

    images: int
    dots: int
    logits: int
    predictions: int


def of_torch(model: ConvNet, images: NDArray[np.uint8]) -> Outputs:
    """What the trained 1-bit network computes; its dot products are those that enter the head's batch norm."""
    weight = quantizers.signs(model.head.weight)  # latent or not
    found = []

    def keep(head: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        found.append(model.head.pooled_dots(inputs[0], weight).flatten(1))  # (n, classes)

    with model.head.register_forward_pre_hook(keep):
        logits = evaluation.logits(model, torch.from_numpy(images)).numpy()
    return Outputs(torch.cat(found).numpy(), logits)


def of_reference(model: PackedModel, images: NDArray[np.uint8], threads: int = 1) -> Outputs:
    """What the reference computes, each thread an equal share; its logits are the affine of its dot products."""
    shares = np.array_split(images, threads)
    with ThreadPoolExecutor(threads) as pool:  # NumPy computes without the interpreter's lock
        dots = np.concatenate(list(pool.map(lambda share: reference.dots(model, share), shares)))
    return Outputs(dots, reference.affine(model.head, dots))


def of_engine(engine: Engine, images: NDArray[np.uint8]) -> Outputs:
    """What an engine computes, its dot products and its logits each asked for."""
    return Outputs(engine.dots(images), engine.logits(images))


def compare_engines(
    trained: ConvNet, model: PackedModel, fast: Engine, images: NDArray[np.uint8], threads: int = 1
) -> dict[str, Difference]:
    """Compare the trained network, the reference and the fast engine on images, uint8 (n, side, side).

    ``threads`` are those of the reference.
    """
    outputs = {
        "torch": of_torch(trained, images),
        "reference": of_reference(model, images, threads),
        "fast": of_engine(fast, images),
    }
    return compare(outputs)


def compare(outputs: Mapping[str, Outputs]) -> dict[str, Difference]:
    """Compare each pair of engines: "a and b" -> what differs."""
    pairs = itertools.combinations(outputs, 2)
    return {f"{first} and {second}": difference(outputs[first], outputs[second]) for first, second in pairs}


def difference(first: Outputs, second: Outputs) -> Difference:
    """Count what differs. Logits are compared as bits, so that -0.0 is not 0.0; a prediction is the first largest."""
    return Difference(
        images=len(first.logits),
        dots=int(np.count_nonzero(first.dots != second.dots)),
        logits=int(np.count_nonzero(first.logits.view(np.uint32) != second.logits.view(np.uint32))),
        predictions=int(np.count_nonzero(first.logits.argmax(axis=1) != second.logits.argmax(axis=1))),
    )


def metrics(found: Mapping[str, Mapping[str, Difference]]) -> dict[str, int]:
    """Split -> logits that differ, over all pairs: what the logbook is told."""
    return {f"{split}_logits": sum(pair.logits for pair in pairs.values()) for split, pairs in found.items()}
