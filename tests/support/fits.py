"""Trainings of a tiny network on noise that has something to learn in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from support import topologies

from bnnlib.config.spec import Adam, Augmentation, Bop, Muon, Optimizer, Quantization, Recipe, Runtime, Training
from bnnlib.data.splits import Split
from bnnlib.nn.published import Published
from bnnlib.training import loop
from bnnlib.training.loop import Epoch


def split_of(count: int, seed: int) -> Split:
    """Noise with a bright square whose place is the class: something to learn."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count, dtype=np.uint8)
    images = generator.integers(0, 64, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 10 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 8, column : column + 5] += 150
    return Split(images, labels)


ADAM = Adam(name="adam", rate=0.01, weight_decay=0.0001)
MUON = Muon(name="muon", rate=0.01, adam_rate=0.01, weight_decay=0.0001)
BOP = Bop(name="bop", rate=0.1, threshold=0.0, adam_rate=0.01)
TRAIN, VALIDATION = split_of(130, seed=1), split_of(50, seed=2)


def recipe(epochs: int = 2, optimizer: Optimizer = ADAM) -> Recipe:
    """A recipe with four steps an epoch."""
    return Recipe(
        epochs=epochs,
        batch_size=32,
        augmentation=Augmentation(share=0.8, shift=1, contrast=1.5, rotation=10.0, zoom=1.1),
        optimizer=optimizer,
    )


def config(bits: int, **changes: Any) -> Training:
    """A training of this width; ``changes``: other values of its fields."""
    values: dict[str, Any] = {
        "variant": "binary",
        "topology": topologies.SMALL,
        "quantization": Quantization(bits=bits),
        "seed": 0,
        "runtime": Runtime(device="cpu", threads=2),
        "norm_images": None,
        "recipe": recipe(),
        "latent_clip": 0.5 if bits == 1 else None,
    }
    return Training(**{**values, **changes})


def fitted(bits: int, **changes: Any) -> list[Epoch]:
    """The epochs of a training of `config`."""
    return list(loop.fit(TRAIN, VALIDATION, config(bits, **changes)))


@cache
def fitted_once(bits: int) -> list[Epoch]:
    """A run that several tests look at and do not change."""
    return fitted(bits)


def equal(a: Published, b: Published) -> bool:
    """Whether the tensors of two networks are the same."""
    return a.tensors.keys() == b.tensors.keys() and all(
        torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors
    )
