"""Pack a trained 1-bit network: batch norm and sign of each channel become one whole-number threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.data import mnist
from bnnlib.nn import layers, quantizers
from bnnlib.nn.layers import NormedConvolution
from bnnlib.nn.published import Published, restore
from bnnlib.packed import model as packed
from bnnlib.packed.model import PLAIN, Block, Head, PackedModel, Pass


class PackError(BnnError):
    """The network has no packed form."""


def pack(published: Published, passes: Sequence[Pass] = ()) -> PackedModel:
    """The packed form of a published 1-bit network; `PackError` if it is wider.

    ``passes``: those that it can make beside the plain one.
    """
    if published.bits != 1:
        raise PackError(
            f"bits: {published.bits}, expected 1: only a 1-bit network can be packed; train one with model.bits: 1"
        )
    model = restore(published)
    *blocks, head = model.layers()
    packed_model = pack_layers(blocks, head, mnist.SIDE, published.topology.input)
    return dataclasses.replace(packed_model, passes=(PLAIN, *passes))


@torch.inference_mode()
def pack_layers(
    blocks: Sequence[NormedConvolution], head: NormedConvolution, side: int, input_thresholds: tuple[int, ...]
) -> PackedModel:
    """Pack 1-bit layers for images of side x side; each input threshold makes a plane.

    `PackError` if a batch norm is not finite, `ModelError` if the layers do not fit each other.
    """
    names = packed.names(len(blocks))
    packed_blocks = tuple(_block(name, layer) for name, layer in zip(names, blocks, strict=False))
    scale, offset = _affine(names[-1], head)
    model = PackedModel(side, input_thresholds, packed_blocks, Head(_weights(head), scale.numpy(), offset.numpy()))
    packed.check(model)
    return model


def _block(name: str, layer: NormedConvolution) -> Block:
    weights = _weights(layer)
    scale, offset = _affine(name, layer)
    flipped = (scale < 0).numpy()
    fan_in = weights[0].size
    dots = np.arange(-fan_in, fan_in + 1, 2, dtype=np.int32)  # every possible sum of K products of -1 and +1
    thresholds = np.empty(len(weights), np.int32)
    for channel in range(len(weights)):
        values = torch.from_numpy(dots).float() * scale[channel] + offset[channel]  # as NormedConvolution computes it
        bits = (quantizers.signs(values) > 0).numpy()
        thresholds[channel] = switch_point(f"{name}.norm channel {channel}", dots, bits != flipped[channel])
    return Block(weights, thresholds, flipped, layer.pool)


def switch_point(name: str, dots: NDArray[np.int32], bits: NDArray[np.bool_]) -> int:
    """The first of the ascending ``dots`` whose bit is set, or the last + 1 if none is.

    All bits after it must be set too, else `PackError` names the channel.
    """
    first = int(bits.argmax()) if bits.any() else len(bits)
    if not bits[first:].all():
        raise PackError(f"{name}: its sign switches more than once, so no threshold can replace it")
    return int(dots[first]) if first < len(dots) else int(dots[-1]) + 1


def _weights(layer: NormedConvolution) -> NDArray[np.bool_]:
    """Weights as bits, true is +1; of latent weights the sign."""
    return quantizers.sign_codes(layer.weight).bool().numpy()


def _affine(name: str, layer: NormedConvolution) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and offset of a layer's batch norm, float32 (channels,); `PackError` if one is not finite."""
    scale, offset = layers.affine(layer.norm)
    for part, tensor in {"scale": scale, "offset": offset}.items():
        bad = torch.flatten((~torch.isfinite(tensor)).nonzero()).tolist()
        if bad:
            raise PackError(
                f"{name}.norm: the {part} of channel {bad[0]} is {tensor[bad[0]].item()}, expected a number"
            )
    return scale, offset
