"""All of a bit width in one object: what enters, weights, activations, and how they are stored. `of` chooses.

The functions behind them, with their equations and papers, are in `quantizers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from bnnlib.config.spec import Quantization
from bnnlib.config.topology import Topology
from bnnlib.core.errors import BnnError
from bnnlib.data import mnist
from bnnlib.nn import quantizers

# The learned scalars of a layer, by the names that `Quantizer.steps` gives them.
Steps = nn.ParameterDict | Mapping[str, Tensor]
WEIGHT, ACTIVATION = "weight", "activation"


class TopologyError(BnnError):
    """A topology that a network of this width cannot have."""


class Quantizer:
    """32 bits: float32 as it is, ReLU between the layers; the other widths replace what differs there.

    ``weight_type`` and ``norm_type``: in which the published network stores weights and batch norm. ``binary``:
    whether weights are signs. ``scaled``: whether weights or activations are multiples of a scale that has to be
    folded into batch norm when the network is published. Weights are (out, in, k, k); ``steps`` are the layer's.
    """

    bits: int = 32
    weight_type: ClassVar[torch.dtype] = torch.float32
    norm_type: ClassVar[torch.dtype] = torch.float32
    binary: ClassVar[bool] = False
    scaled: bool = False

    def topology(self, topology: Topology) -> Topology:
        """The topology that a network of this width has: input thresholds are for 1 bit alone."""
        return topology.model_copy(update={"input": ()})

    def input(self, images: Tensor, thresholds: Tensor) -> Tensor:
        """uint8 (n, 28, 28) -> float32 (n, planes, 28, 28); ``thresholds``: float32 (planes,), empty above 1 bit."""
        return self._input(images[..., None].float(), thresholds).permute(0, 3, 1, 2)

    def _input(self, x: Tensor, thresholds: Tensor) -> Tensor:
        """Pixels as float32 (n, 28, 28, 1) -> (n, 28, 28, planes): here normalised."""
        return (x / mnist.WHITE - mnist.MEAN) / mnist.STD

    def steps(self, w: Tensor, *, activated: bool) -> dict[str, Tensor]:
        """The scalars that a layer learns besides its weights, as training starts; ``activated``: not the head."""
        return {}

    def is_real(self, progress: float) -> bool:
        """Whether training still uses the latent weights themselves. ``progress``: share of it that is done."""
        return False

    def weight(self, w: Tensor, steps: Steps) -> Tensor:
        """The weights that the forward pass uses, differentiable in the latent ones."""
        return w

    def channel_factor(self, w: Tensor) -> Tensor | None:
        """What the dot products of each output channel are multiplied by, (out,), never negative; None: nothing."""
        return None

    def activation(self, x: Tensor, steps: Steps, progress: float) -> Tensor:
        """Nonlinearity and quantizer behind a hidden layer's batch norm."""
        return torch.relu(x)

    def stored(self, w: Tensor, steps: Steps) -> Tensor:
        """The weights as they are published, a copy."""
        return w.clone()

    def restored(self, stored: Tensor) -> Tensor:
        """Published weights as the float32 values that the network computes with."""
        return stored.float()

    def weight_scale(self, w: Tensor, steps: Steps) -> Tensor:
        """The weights of the forward pass over their published values: a scalar, or (out,)."""
        return torch.ones((), device=w.device)

    def activation_scale(self, steps: Steps) -> Tensor | None:
        """The activations over their values in the published network: a scalar; None where they are the same."""
        return None


class HalfQuantizer(Quantizer):
    """16 bits: every weight and activation is an IEEE half value, kept in a float32 tensor."""

    bits = 16
    weight_type = torch.float16
    norm_type = torch.float16

    def _input(self, x: Tensor, thresholds: Tensor) -> Tensor:
        return quantizers.half(super()._input(x, thresholds))

    def weight(self, w: Tensor, steps: Steps) -> Tensor:
        """See `quantizers.half`."""
        return quantizers.half(w)

    def activation(self, x: Tensor, steps: Steps, progress: float) -> Tensor:
        """ReLU, then `quantizers.half`."""
        return quantizers.half(torch.relu(x))

    def stored(self, w: Tensor, steps: Steps) -> Tensor:
        """Half values."""
        return w.half()


class UniformQuantizer(Quantizer):
    """2 to 8 bits on the uniform grids of DoReFa: weights in [-1, 1], activations in [0, 1]."""

    weight_type = torch.uint8

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def _input(self, x: Tensor, thresholds: Tensor) -> Tensor:
        return quantizers.uniform(x / mnist.WHITE, self.bits)

    def weight(self, w: Tensor, steps: Steps) -> Tensor:
        """See `quantizers.dorefa_weight`."""
        return quantizers.dorefa_weight(w, self.bits)

    def activation(self, x: Tensor, steps: Steps, progress: float) -> Tensor:
        """See `quantizers.dorefa_activation`."""
        return quantizers.dorefa_activation(x, self.bits)

    def stored(self, w: Tensor, steps: Steps) -> Tensor:
        """Codes; see `quantizers.dorefa_codes`."""
        return quantizers.dorefa_codes(w, self.bits)

    def restored(self, stored: Tensor) -> Tensor:
        """See `quantizers.code_values`."""
        return quantizers.code_values(stored, self.bits)


class LearnedStepQuantizer(UniformQuantizer):
    """2 to 8 bits on the same grids times a step that each layer learns (LSQ)."""

    scaled = True

    def steps(self, w: Tensor, *, activated: bool) -> dict[str, Tensor]:
        """A step of the weights, and one of the activations behind the layer."""
        found = {WEIGHT: quantizers.lsq_weight_step(w, self.bits)}
        return {**found, ACTIVATION: quantizers.lsq_activation_step(self.bits)} if activated else found

    def weight(self, w: Tensor, steps: Steps) -> Tensor:
        """See `quantizers.lsq_weight`."""
        return quantizers.lsq_weight(w, steps[WEIGHT], self.bits)

    def activation(self, x: Tensor, steps: Steps, progress: float) -> Tensor:
        """See `quantizers.lsq_activation`."""
        return quantizers.lsq_activation(x, steps[ACTIVATION], self.bits)

    def stored(self, w: Tensor, steps: Steps) -> Tensor:
        """Codes; see `quantizers.lsq_codes`."""
        return quantizers.lsq_codes(w, steps[WEIGHT], self.bits)

    def weight_scale(self, w: Tensor, steps: Steps) -> Tensor:
        """Half the range of the codes, in steps."""
        return steps[WEIGHT] * quantizers.levels(self.bits) / 2

    def activation_scale(self, steps: Steps) -> Tensor | None:
        """The range of the codes, in steps."""
        return steps[ACTIVATION] * quantizers.levels(self.bits) if ACTIVATION in steps else None


class BinaryQuantizer(Quantizer):
    """1 bit: every weight and activation is -1 or +1, and so is the input, one plane for each threshold."""

    bits = 1
    weight_type = torch.uint8
    binary = True

    def __init__(self, quantization: Quantization) -> None:
        self._choices = quantization
        self.scaled = quantization.channel_scale

    def topology(self, topology: Topology) -> Topology:
        """The same: each input threshold gives a plane. `TopologyError` where there is none."""
        if not topology.input:
            raise TopologyError("topology: input: (), expected pixel thresholds at 1 bit, such as (64,)")
        return topology

    def _input(self, x: Tensor, thresholds: Tensor) -> Tensor:
        return quantizers.signs(x - thresholds)  # +1 where the pixel is >= the threshold

    def is_real(self, progress: float) -> bool:
        """In the first stage of a two-stage training."""
        return progress < self._choices.real_share

    def weight(self, w: Tensor, steps: Steps) -> Tensor:
        """Signs; latent weights are clipped to where the slope of the straight-through estimator is 1."""
        return quantizers.sign(w, "ste")

    def channel_factor(self, w: Tensor) -> Tensor | None:
        """See `quantizers.channel_scale`."""
        return quantizers.channel_scale(w) if self._choices.channel_scale else None

    def activation(self, x: Tensor, steps: Steps, progress: float) -> Tensor:
        """See `quantizers.sign`."""
        return quantizers.sign(x, self._choices.surrogate, progress)

    def stored(self, w: Tensor, steps: Steps) -> Tensor:
        """Codes: 1 for +1, 0 for -1."""
        return quantizers.sign_codes(w)

    def restored(self, stored: Tensor) -> Tensor:
        """See `quantizers.code_values`."""
        return quantizers.code_values(stored, self.bits)

    def weight_scale(self, w: Tensor, steps: Steps) -> Tensor:
        """The channels' factors, where they are in use."""
        factor = self.channel_factor(w)
        return super().weight_scale(w, steps) if factor is None else factor.clamp(min=torch.finfo(torch.float32).tiny)


def of(quantization: Quantization) -> Quantizer:
    """The quantizer of a width, with what training may choose there."""
    if quantization.bits == BinaryQuantizer.bits:
        return BinaryQuantizer(quantization)
    if quantization.bits == HalfQuantizer.bits:
        return HalfQuantizer()
    if quantization.bits == Quantizer.bits:
        return Quantizer()
    return (LearnedStepQuantizer if quantization.learned_step else UniformQuantizer)(quantization.bits)
