"""The convnet of the study, trainable with latent weights.

Its sizes come from `topology.Topology`: building blocks, then a head that covers what they leave of the map and gives
one logit for each class. Maps are (n, channels, height, width), their channels innermost in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Topology
from bnnlib.nn import widths
from bnnlib.nn.layers import NormedConvolution


class ConvNet(nn.Module):
    """uint8 images (n, 28, 28) -> float32 logits (n, 10).

    ``latent``: weights are real-valued and quantized in each forward pass (training). Otherwise they hold the
    quantized values themselves, as `published.restore` fills them in. ``progress``, 0 to 1, is what the training sets
    for all that changes in its course.
    """

    input_thresholds: Tensor

    def __init__(self, topology: Topology, quantization: Quantization, *, latent: bool = True) -> None:
        super().__init__()
        self.bits = quantization.bits
        self.quantizer = quantizer = widths.of(quantization)
        self.topology = topology = quantizer.topology(topology)
        self.progress = 0.0
        self.register_buffer("input_thresholds", torch.tensor(topology.input, dtype=torch.float32), persistent=False)
        *blocks, head = topology.layers()
        self.blocks = nn.ModuleList(NormedConvolution(sizes, quantizer, latent=latent) for sizes in blocks)
        self.head = NormedConvolution(head, quantizer, latent=latent)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits of a batch."""
        x = self.quantizer.input(images, self.input_thresholds)
        *blocks, head = self.layers()
        for block in blocks:
            x = block.activate(block(x, self.progress), self.progress)
        logits: Tensor = head(x, self.progress)
        return logits.flatten(1)  # of maps of one pixel

    def named_layers(self) -> list[tuple[str, NormedConvolution]]:
        """The convolutions, first to last, each with the name of its tensors."""
        return [(name, layer) for name, layer in self.named_modules() if isinstance(layer, NormedConvolution)]

    def layers(self) -> list[NormedConvolution]:
        """The convolutions, first to last."""
        return [layer for _, layer in self.named_layers()]
