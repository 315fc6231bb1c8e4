"""The fast engine compared with the reference, for tests and for the processes that they start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from support import networks

from bnnlib.packed import fast, reference
from bnnlib.packed.model import Block, Head, PackedModel


def all_different(side: int, channels: int, kernel: int) -> tuple[PackedModel, NDArray[np.uint8]]:
    """A network and images in which every bit of every window differs from the weights: the largest counts."""
    always = np.full(channels, -((side - kernel + 1) ** 2), np.int32)
    size = side - kernel + 1
    first = Block(np.zeros((channels, 1, size, size), np.bool_), always, np.zeros(channels, np.bool_))
    head = Head(np.zeros((3, channels, kernel, kernel), np.bool_), np.ones(3, np.float32), np.zeros(3, np.float32))
    return PackedModel(side, (0,), (first,), head), np.zeros((2, side, side), np.uint8)


def check(model: PackedModel, images: NDArray[np.uint8]) -> None:
    """The fast engine gives the same numbers as the reference."""
    engine = fast.Engine(model)
    expected = reference.dots(model, images)
    found = engine.dots(images)
    assert (found.dtype, found.shape) == (np.int32, expected.shape)
    assert found.tolist() == expected.tolist()
    logits = engine.logits(images)
    assert logits.dtype == np.float32
    assert logits.tobytes() == reference.affine(model.head, expected).tobytes()


def check_fixed_networks() -> None:
    """`check` networks of chosen sizes, the largest counts and both trained networks."""
    for name in networks.SIZES:
        check(*networks.draw(name))
    for channels in (32, 1000):
        check(*all_different(12, channels, 6))
    for model in (networks.committed(), networks.baseline()):
        check(model, np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8))
