"""Binarized neural networks: train, pack into a few kilobytes, predict.

The names below are loaded on first use, so that `import bnnlib` costs nothing.

Predict with the packed network that comes with the package, or with another one, `load("other.bnn")`:

>>> import bnnlib
>>> import numpy as np
>>> model = bnnlib.load()
>>> images = np.zeros((1, 28, 28), np.uint8)  # as in MNIST: 0 is the background, 255 the foreground
>>> images[0, 4:24, 13:15] = 255  # an upright stroke
>>> bnnlib.engine(model).logits(images).argmax(axis=1)
array([1])

`classify` reads image files of any size instead. `encode` and `decode` are the bytes of a .bnn file:

>>> content = bnnlib.encode(model)
>>> bnnlib.decode(content).side
28

The other names need the extra train, `pip install 'bnnlib[train]'`. `ConvNet` is a torch module of any `Topology`;
its published form can be saved with `write_published` and packed:

>>> topology = bnnlib.Topology(input=(64,), blocks=(bnnlib.Block(channels=16, kernel=5, pool=4),))
>>> topology.weights, topology.macs
(6160, 236160)
>>> network = bnnlib.ConvNet(topology, bnnlib.Quantization(bits=1))  # train it in between
>>> packed = bnnlib.pack(bnnlib.publish(network, epoch=0))
>>> bnnlib.engine(packed).logits(images).shape
(1, 10)

`fit` is the training loop of the study: `best_epoch(list(fit(train, validation, training)))` is the best one, whose
``published`` network can be packed. ``train`` and ``validation`` are a `Split` each, and ``training`` is what
`read_params("params.yaml").training("binary")` gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnnlib.config.params import load as read_params
    from bnnlib.config.spec import Quantization
    from bnnlib.config.topology import Block, Topology
    from bnnlib.core.errors import BnnError
    from bnnlib.data.splits import Split
    from bnnlib.export.pack import pack
    from bnnlib.nn.convnet import ConvNet
    from bnnlib.nn.published import publish
    from bnnlib.nn.weights import read as read_published
    from bnnlib.nn.weights import write as write_published
    from bnnlib.packed.engines import best as engine
    from bnnlib.packed.format import decode, encode
    from bnnlib.packed.model import PackedModel
    from bnnlib.serving.predict import Outcome, classify, load
    from bnnlib.training.loop import best as best_epoch
    from bnnlib.training.loop import fit

    __version__: str

__all__ = [
    "Block",
    "BnnError",
    "ConvNet",
    "Outcome",
    "PackedModel",
    "Quantization",
    "Split",
    "Topology",
    "__version__",
    "best_epoch",
    "classify",
    "decode",
    "encode",
    "engine",
    "fit",
    "load",
    "pack",
    "publish",
    "read_params",
    "read_published",
    "write_published",
]

# Where each name is: module and, where it differs, the name there. The imports above say the same to type checkers.
_HOMES = {
    "Block": "config.topology",
    "BnnError": "core.errors",
    "ConvNet": "nn.convnet",
    "Outcome": "serving.predict",
    "PackedModel": "packed.model",
    "Quantization": "config.spec",
    "Split": "data.splits",
    "Topology": "config.topology",
    "best_epoch": "training.loop:best",
    "classify": "serving.predict",
    "decode": "packed.format",
    "encode": "packed.format",
    "engine": "packed.engines:best",
    "fit": "training.loop",
    "load": "serving.predict",
    "pack": "export.pack",
    "publish": "nn.published",
    "read_params": "config.params:load",
    "read_published": "nn.weights:read",
    "write_published": "nn.weights:write",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load a public name on first use (PEP 562); `MissingExtraError` where a package of the extra is missing."""
        if name == "__version__":
            from importlib.metadata import version

            return version("bnnlib")
        if name not in _HOMES:
            raise AttributeError(f"module 'bnnlib' has no attribute {name!r}")
        from importlib import import_module

        module, _, other = _HOMES[name].partition(":")
        with import_module("bnnlib.core.extras").needed("train", f"bnnlib.{name}"):
            value = getattr(import_module(f"bnnlib.{module}"), other or name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
