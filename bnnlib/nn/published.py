"""The published form of a trained network: what prediction needs, in the types it is stored in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnnlib.config.spec import Bits, Quantization
from bnnlib.config.topology import Topology
from bnnlib.core.errors import BnnError
from bnnlib.nn import widths
from bnnlib.nn.convnet import ConvNet
from bnnlib.nn.layers import NORM_STATE


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


def publish(model: ConvNet, epoch: int) -> Published:
    """Everything that prediction needs, in the type it is stored in.

    Weights: uint8 codes for 1 to 8 bits (value = 2 * code / (2**bits - 1) - 1), float16 or float32 above. Batch norm:
    float16 for 16 bits, else float32.
    """
    _check_finite({f"{name}.weight": layer.weight for name, layer in model.named_layers()}, epoch)
    _check_steps(model, epoch)
    tensors = {}
    scale = None  # of the input
    for name, layer in model.named_layers():
        tensors[f"{name}.weight"] = layer.stored_weight()
        for part, state in layer.folded_norm(scale).items():
            tensors[f"{name}.norm.{part}"] = state.to(model.quantizer.norm_type).clone()
        scale = layer.output_scale()
    _check_finite(tensors, epoch)
    stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return Published(stored, model.topology, model.bits, epoch)


def layout(topology: Topology, bits: Bits) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of every published tensor of a network of this topology and width."""
    quantizer = widths.of(Quantization(bits=bits))
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for layer in quantizer.topology(topology).layers():
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        expected[f"{layer.name}.weight"] = (quantizer.weight_type, shape)
        for part in NORM_STATE:
            expected[f"{layer.name}.norm.{part}"] = (quantizer.norm_type, (layer.out_channels,))
    return expected


def restore(published: Published) -> ConvNet:
    """The published network, ready to predict (evaluation mode). Draws no random number."""
    model = ConvNet(published.topology, Quantization(bits=published.bits), latent=False)
    state = model.state_dict()
    for name, _ in model.named_layers():
        state[f"{name}.weight"] = model.quantizer.restored(published.tensors[f"{name}.weight"])
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
    for name, layer in model.named_layers():
        for part, step in layer.steps.items():
            if not bool(step > 0):
                raise NonFiniteError(
                    f"epoch {epoch}: the learned step {name}.steps.{part} is {step.item()}, expected above 0; "
                    "try a smaller learning rate"
                )


def _check_finite(tensors: dict[str, Tensor], epoch: int) -> None:
    bad = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NonFiniteError(f"epoch {epoch}: not finite as stored: {', '.join(bad)}; a smaller learning rate may help")
