"""Random networks; images of ten clear patterns, and small networks trained on them.

The patterns are so different that no prediction depends on rounding.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from support import topologies
from torch.nn import functional

from bnnlib.config.spec import Bits, Quantization
from bnnlib.config.topology import Topology
from bnnlib.data.splits import Split
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.published import Published, publish
from bnnlib.scoring import evaluation

SIGNS = ("positive", "mixed")  # of the batch norms' scales


def split(count: int, seed: int) -> Split:
    """Images of ten classes: each has a fixed pattern of 4 x 4 squares, with noise."""
    squares = np.random.default_rng(0).choice([40, 200], (10, 7, 7))
    labels = np.arange(count, dtype=np.uint8) % 10
    noise = np.random.default_rng(seed).integers(-15, 16, (count, 28, 28))
    return Split((np.kron(squares, np.ones((4, 4), np.int64))[labels] + noise).astype(np.uint8), labels)


def random_network(
    topology: Topology, quantization: Quantization, images: NDArray[np.uint8], signs: str = "mixed", seed: int = 0
) -> ConvNet:
    """A network in evaluation mode whose batch norms have the statistics of the images; ``signs``: see `untrained`."""
    model = untrained(topology, quantization, signs, seed)
    for layer in model.layers():
        layer.norm.momentum = 1.0  # the running statistics become the batch's
    with torch.no_grad():
        model(torch.from_numpy(images))
    return model.eval()


def untrained(topology: Topology, quantization: Quantization, signs: str, seed: int = 0) -> ConvNet:
    """A network in training mode; ``signs`` mixed: every third scale of each batch norm is negative."""
    torch.manual_seed(seed)
    model = ConvNet(topology, quantization)
    with torch.no_grad():
        for layer in model.layers():
            layer.norm.weight.uniform_(0.5, 1.5)
            layer.norm.bias.normal_(std=0.3)
            if signs == "mixed":
                layer.norm.weight[::3] *= -1
    return model


@cache
def trained(bits: Bits, signs: str = "mixed") -> Published:
    """A small network with pooling, trained for a few steps."""
    images, labels = evaluation.tensors(split(100, seed=1), "cpu")
    model = untrained(topologies.SMALL, Quantization(bits=bits), signs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        model.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return publish(model, epoch=1)
