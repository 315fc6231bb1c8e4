"""The convnet of the study, trainable with latent weights, and its published form with weights of `bits` bits each.

Its sizes come from `topology.Topology`: building blocks, then a head that covers what they leave of the map and gives
one logit for each class. Maps are (n, channels, height, width), their channels innermost in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnnlib.config.params import Bits, Quantization
from bnnlib.config.topology import Topology
from bnnlib.core.errors import BnnError
from bnnlib.data import mnist
from bnnlib.nn import quantizers
from bnnlib.nn.layers import NORM_STATE, NormedConvolution


class NonFiniteError(BnnError):
    """A number of the network became infinite, NaN, of the wrong sign, or does not fit the type it is stored in."""


@dataclass(frozen=True)
class Published:
    """A trained network as it is written to disk: tensors by name, and what is needed to build the network again.

    ``epoch``: the one that it comes from.
    """

    tensors: dict[str, Tensor]
    topology: Topology
    bits: Bits
    epoch: int


class ConvNet(nn.Module):
    """uint8 images (n, 28, 28) -> float32 logits (n, 10).

    ``latent``: weights are real-valued and quantized in each forward pass (training). Otherwise they hold the
    quantized values themselves, as `restore` fills them in. ``progress``, 0 to 1, is what the training sets for all
    that changes in its course.
    """

    input_thresholds: Tensor

    def __init__(self, topology: Topology, quantization: Quantization, *, latent: bool = True) -> None:
        super().__init__()
        self.topology = topology
        self.bits = quantization.bits
        self.progress = 0.0
        self.register_buffer("input_thresholds", torch.tensor(topology.input, dtype=torch.float32), persistent=False)
        *blocks, head = topology.layers(quantization.bits)
        self.blocks = nn.ModuleList(NormedConvolution(sizes, quantization, latent=latent) for sizes in blocks)
        self.head = NormedConvolution(head, quantization, latent=latent)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits of a batch."""
        x = prepare(images, self.bits, self.input_thresholds)
        *blocks, head = self.layers()
        for block in blocks:
            x = block.activate(block(x, self.progress), self.progress)
        logits: Tensor = head(x, self.progress)
        return logits.flatten(1)  # of maps of one pixel

    def named_layers(self) -> list[tuple[str, NormedConvolution]]:
        """The convolutions, first to last, each with the name that its tensors bear."""
        return [(name, layer) for name, layer in self.named_modules() if isinstance(layer, NormedConvolution)]

    def layers(self) -> list[NormedConvolution]:
        """The convolutions, first to last."""
        return [layer for _, layer in self.named_layers()]


def prepare(images: Tensor, bits: int, thresholds: Tensor) -> Tensor:
    """Quantize the input: uint8 (n, 28, 28) -> float32 (n, planes, 28, 28).

    1 bit: a plane for each threshold, +1 where the pixel is >= it, else -1. Wider networks have one plane. 2 to 8 bits:
    pixel / 255 on the uniform grid of [0, 1]. 16 bits: normalised, as a half value. 32 bits: normalised.
    """
    x = images[..., None].float()  # (n, 28, 28, 1)
    return _quantize_input(x, bits, thresholds).permute(0, 3, 1, 2)


def _quantize_input(x: Tensor, bits: int, thresholds: Tensor) -> Tensor:
    if bits == 1:
        return quantizers.signs(x - thresholds)
    x = x / mnist.WHITE
    if bits < quantizers.HALF_BITS:
        return quantizers.uniform(x, bits)
    x = (x - mnist.MEAN) / mnist.STD
    return quantizers.half(x) if bits == quantizers.HALF_BITS else x


def publish(model: ConvNet, epoch: int) -> Published:
    """Everything that prediction needs, in the type it is stored in.

    Weights: uint8 codes for 1 to 8 bits (value = 2 * code / (2**bits - 1) - 1), float16 or float32 above. Batch norm:
    float16 for 16 bits, else float32.
    """
    _check_finite({f"{name}.weight": layer.weight for name, layer in model.named_layers()}, epoch)
    _check_steps(model, epoch)
    tensors = {}
    scale = torch.ones((), device=model.head.weight.device)  # of the input
    for name, layer in model.named_layers():
        tensors[f"{name}.weight"] = layer.stored_weight()
        for part, state in layer.folded_norm(scale).items():
            tensors[f"{name}.norm.{part}"] = state.to(_norm_type(model.bits)).clone()
        scale = layer.output_scale()
    _check_finite(tensors, epoch)
    stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return Published(stored, model.topology, model.bits, epoch)


def layout(topology: Topology, bits: Bits) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of every published tensor of a network of this topology and width."""
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for layer in topology.layers(bits):
        weight = torch.uint8 if bits < quantizers.HALF_BITS else _norm_type(bits)
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        expected[f"{layer.name}.weight"] = (weight, shape)
        for part in NORM_STATE:
            expected[f"{layer.name}.norm.{part}"] = (_norm_type(bits), (layer.out_channels,))
    return expected


def _norm_type(bits: int) -> torch.dtype:
    """The type that batch norm is published in, and weights of 16 bits and more."""
    return torch.float16 if bits == quantizers.HALF_BITS else torch.float32


def restore(published: Published) -> ConvNet:
    """The published network, ready to predict (evaluation mode). Draws no random number."""
    model = ConvNet(published.topology, Quantization(bits=published.bits), latent=False)
    state = model.state_dict()
    for name, _ in model.named_layers():
        stored = published.tensors[f"{name}.weight"]
        coded = published.bits < quantizers.HALF_BITS
        state[f"{name}.weight"] = quantizers.code_values(stored, published.bits) if coded else stored.float()
        for part in NORM_STATE:
            state[f"{name}.norm.{part}"] = published.tensors[f"{name}.norm.{part}"].float()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def first_kernels(published: Published, number: int) -> NDArray[np.float32]:
    """The first kernels of the first layer as the network uses them, all planes of each side by side.

    (number, kernel, planes * kernel), fewer where the layer has fewer.
    """
    weight = restore(published).layers()[0].weight[:number]
    return torch.cat(list(weight.unbind(dim=1)), dim=2).numpy()


def _check_steps(model: ConvNet, epoch: int) -> None:
    """Refuse a learned step that is not positive: the norm that it folds into could not undo its sign."""
    for name, step in model.named_parameters():
        if name.endswith("_step") and not bool(step > 0):
            raise NonFiniteError(
                f"epoch {epoch}: {name} is {step.item()}, expected above 0; try a smaller learning_rate"
            )


def _check_finite(tensors: dict[str, Tensor], epoch: int) -> None:
    bad = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NonFiniteError(f"epoch {epoch}: not finite as stored: {', '.join(bad)}; a smaller learning_rate may help")
