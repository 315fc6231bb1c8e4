"""Check that the trained network, the reference engine and the fast engine compute the same bits for every image."""

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
    """What an engine computes: the head's dot products and the logits, both (n, classes).

    ``dots`` of torch stay float32, so a value that is not a whole number counts as a difference.
    """

    dots: NDArray[np.int32] | NDArray[np.float32]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """Number of images that two engines got, and of the dot products, logits and predicted classes that differ."""

    images: int
    dots: int
    logits: int
    predictions: int


def of_torch(model: ConvNet, images: NDArray[np.uint8]) -> Outputs:
    """What the trained 1-bit network computes; its dot products are the inputs of the head's batch norm."""
    weight = quantizers.signs(model.head.weight)  # of latent and of binary weights
    found = []

    def keep(head: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        found.append(model.head.pooled_dots(inputs[0], weight).flatten(1))  # (n, classes)

    with model.head.register_forward_pre_hook(keep):
        logits = evaluation.logits(model, torch.from_numpy(images)).numpy()
    return Outputs(torch.cat(found).numpy(), logits)


def of_reference(model: PackedModel, images: NDArray[np.uint8], threads: int = 1) -> Outputs:
    """What the reference computes, with an equal share of the images on each thread."""
    shares = np.array_split(images, threads)
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the interpreter's lock
        dots = np.concatenate(list(pool.map(lambda share: reference.dots(model, share), shares)))
    return Outputs(dots, reference.affine(model.head, dots))


def of_engine(engine: Engine, images: NDArray[np.uint8]) -> Outputs:
    """What an engine computes. It is called for the logits too, instead of deriving them from its dot products."""
    return Outputs(engine.dots(images), engine.logits(images))


def compare_engines(
    trained: ConvNet, model: PackedModel, fast: Engine, images: NDArray[np.uint8], threads: int = 1
) -> dict[str, Difference]:
    """Compare the trained network, the reference and the fast engine on images, uint8 (n, side, side).

    ``threads``: used by the reference.
    """
    outputs = {
        "torch": of_torch(trained, images),
        "reference": of_reference(model, images, threads),
        "fast": of_engine(fast, images),
    }
    return compare(outputs)


def compare(outputs: Mapping[str, Outputs]) -> dict[str, Difference]:
    """Compare each pair of engines: "a and b" -> their difference."""
    pairs = itertools.combinations(outputs, 2)
    return {f"{first} and {second}": difference(outputs[first], outputs[second]) for first, second in pairs}


def difference(first: Outputs, second: Outputs) -> Difference:
    """Count what differs. Logits are compared as bits: -0.0 is not 0.0. A prediction is the first largest logit."""
    return Difference(
        images=len(first.logits),
        dots=int(np.count_nonzero(first.dots != second.dots)),
        logits=int(np.count_nonzero(first.logits.view(np.uint32) != second.logits.view(np.uint32))),
        predictions=int(np.count_nonzero(first.logits.argmax(axis=1) != second.logits.argmax(axis=1))),
    )


def metrics(found: Mapping[str, Mapping[str, Difference]]) -> dict[str, int]:
    """Metrics for MLflow: for each split the number of logits that differ, over all pairs."""
    return {f"agreement.{split}_logits": sum(pair.logits for pair in pairs.values()) for split, pairs in found.items()}
