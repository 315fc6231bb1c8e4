"""Small 1-bit networks of torch layers, drawn by Hypothesis, and their outputs, which the packed form must repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import HEAD, Layer
from bnnlib.export import pack
from bnnlib.nn import quantizers, widths
from bnnlib.nn.layers import NormedConvolution
from bnnlib.packed.model import PackedModel

ONE_BIT = widths.of(Quantization(bits=1))
CHANNELS = st.integers(1, 40) | st.sampled_from([7, 8, 9, 31, 32, 33, 63, 64, 65])


@dataclass(frozen=True)
class Trained:
    """Layers in evaluation mode, and images for them, uint8 (n, side, side)."""

    blocks: list[NormedConvolution]
    head: NormedConvolution
    input_thresholds: tuple[int, ...]
    images: NDArray[np.uint8]

    def pack(self) -> PackedModel:
        """The packed form."""
        return pack.pack_layers(self.blocks, self.head, self.images.shape[1], self.input_thresholds)

    @torch.inference_mode()
    def outputs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Torch's dot products before the head's batch norm, and its logits, both (n, classes)."""
        x = ONE_BIT.input(torch.from_numpy(self.images), torch.tensor(self.input_thresholds, dtype=torch.float32))
        for block in self.blocks:
            x = block.activate(block(x))
        dots = self.head.pooled_dots(x, quantizers.signs(self.head.weight))
        return dots.flatten(1).numpy(), self.head(x).flatten(1).numpy()


@st.composite
def networks(draw: st.DrawFn) -> Trained:
    """Up to three blocks and a head, with every kind of norm; the sign of some never switches."""
    side = draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    thresholds = draw(st.lists(st.sampled_from([0, 1, 34, 128, 255, 256]), min_size=1, max_size=4))
    channels, left, blocks = len(thresholds), side, []
    for number in range(draw(st.integers(0, 3))):
        kernel, outputs = draw(st.integers(1, min(left, 5))), draw(CHANNELS)
        pool = draw(st.integers(1, min(left - kernel + 1, 3)))
        sizes = Layer(f"blocks.{number}", channels, outputs, kernel, pool, left)
        blocks.append(_layer(draw, generator, sizes))
        channels, left = outputs, sizes.out_side
    head = _layer(draw, generator, Layer(HEAD, channels, draw(st.integers(1, 12)), left, 1, left))
    images = torch.randint(0, 256, (draw(st.integers(1, 6)), side, side), dtype=torch.uint8, generator=generator)
    return Trained(blocks, head, tuple(thresholds), images.numpy())


def _layer(draw: st.DrawFn, generator: torch.Generator, sizes: Layer) -> NormedConvolution:
    layer = NormedConvolution(sizes, ONE_BIT, latent=draw(st.booleans()))
    outputs, fan_in = sizes.out_channels, sizes.in_channels * sizes.kernel**2
    weight = torch.randn(layer.weight.shape, generator=generator)
    norm = layer.norm
    with torch.no_grad():
        layer.weight.copy_(weight if layer.latent else quantizers.signs(weight))
        norm.weight.copy_(torch.randn(outputs, generator=generator))
        norm.bias.copy_(torch.randn(outputs, generator=generator))
        norm.get_buffer("running_mean").copy_(torch.randn(outputs, generator=generator) * fan_in**0.5)
        norm.get_buffer("running_var").copy_(torch.rand(outputs, generator=generator) * 2 * fan_in)
        if draw(st.booleans()):
            _make_ties(layer, fan_in)
        if draw(st.booleans()):
            _make_odd(layer, generator)
    return layer.eval()


def _make_ties(layer: NormedConvolution, fan_in: int) -> None:
    """Remove the bias, and round the means to possible dot products: the norm's value is then often exactly 0."""
    mean: Tensor = layer.norm.get_buffer("running_mean")
    mean.copy_(2 * torch.round((mean - fan_in) / 2) + fan_in)
    layer.norm.bias.zero_()


def _make_odd(layer: NormedConvolution, generator: torch.Generator) -> None:
    """Give a third of the channels a scale of +0 or -0, a bias larger than all dot products, or a variance of 0."""
    kind = torch.randint(0, 15, (len(layer.weight),), generator=generator)
    layer.norm.weight[kind == 0] = 0.0
    layer.norm.weight[kind == 1] = -0.0
    layer.norm.bias[kind == 2] = 1e9
    layer.norm.bias[kind == 3] = -1e9
    layer.norm.get_buffer("running_var")[kind == 4] = 0.0
