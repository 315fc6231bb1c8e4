"""The building block's trainable part: a convolution with quantized weights, its batch norm, its activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnnlib import convolution, quantizers
from bnnlib.params import Quantization

NORM_STATE = ("weight", "bias", "running_mean", "running_var")


class NormedConvolution(nn.Module):
    """Convolution with quantized weights, then batch norm with a learned affine: (n, h, w, in) -> (n, h', w', out).

    ``latent``, ``compiled``: see `models.ConvNet`. ``activated``: `activate` follows; the last layer does without.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        quantization: Quantization,
        *,
        latent: bool,
        compiled: bool,
        activated: bool,
    ) -> None:
        super().__init__()
        self.quantization = quantization
        self.latent = latent
        self.compiled = compiled
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel).uniform_(-0.5, 0.5))
        self.norm = nn.BatchNorm2d(out_channels)
        self.weight_step = self.activation_step = None  # LSQ's, scalars
        if quantization.learned_step:
            self.weight_step = nn.Parameter(quantizers.lsq_weight_step(self.weight, quantization.bits))
            if activated:
                self.activation_step = nn.Parameter(quantizers.lsq_activation_step(quantization.bits))

    def forward(self, x: Tensor, progress: float = 1.0) -> Tensor:
        """Convolve and normalise. ``progress``: share of the training that is done."""
        real = self.training and progress < self.quantization.real_share
        weight = self.weight if real else self.quantized_weight()
        if self.compiled and x.device.type == "cpu":
            y = convolution.convolve_fast(x, weight, integers=self.quantization.bits == 1 and not real)
        else:
            y = convolution.convolve(x, weight)
        if self.quantization.channel_scale:
            y = y * quantizers.channel_scale(self.weight)
        if self.training:
            normed: Tensor = self.norm(y.permute(0, 3, 1, 2))  # torch's view of maps whose channels stand innermost
            return normed.permute(0, 2, 3, 1)
        scale, offset = affine(self.norm)
        return y * scale + offset

    def quantized_weight(self) -> Tensor:
        """The weights that the forward pass uses, differentiable in the latent ones: (out, in, k, k)."""
        if not self.latent:
            return self.weight
        if self.weight_step is not None:
            return quantizers.lsq_weight(self.weight, self.weight_step, self.quantization.bits)
        return quantizers.quantize_weight(self.weight, self.quantization.bits)

    def activate(self, x: Tensor, progress: float) -> Tensor:
        """Nonlinearity and quantizer. ``progress``: share of the training that is done."""
        bits = self.quantization.bits
        if self.activation_step is not None:
            return quantizers.lsq_activation(x, self.activation_step, bits)
        return quantizers.quantize_activation(x, bits, self.quantization.surrogate, progress)

    @torch.no_grad()
    def stored_weight(self) -> Tensor:
        """The weight as it is published: uint8 codes for 1 to 8 bits, float16 or float32 above."""
        bits = self.quantization.bits
        if bits == 1:
            return quantizers.sign_codes(self.weight)
        if bits < quantizers.HALF_BITS:
            if self.weight_step is not None:
                return quantizers.lsq_codes(self.weight, self.weight_step, bits)
            return quantizers.dorefa_codes(self.weight, bits)
        return self.weight.half() if bits == quantizers.HALF_BITS else self.weight.clone()

    @torch.no_grad()
    def folded_norm(self, input_scale: Tensor) -> dict[str, Tensor]:
        """State of a batch norm that does the same without scales and steps, on inputs divided by ``input_scale``.

        The convolution then sees values on the grids that are published: weights in [-1, 1], activations as they are
        without a learned step. Its result y is smaller by a factor s, so the norm needs mean / s and, for
        (y - mean) / sqrt(var + eps) to stay, (var + eps) / s**2 - eps.
        """
        scale = self._weight_scale() * input_scale
        norm, eps = self.norm, self.norm.eps
        mean, var = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        state = {"weight": norm.weight, "bias": norm.bias, "running_mean": mean, "running_var": var}
        if self.quantization.channel_scale or self.quantization.learned_step:
            state["running_mean"] = mean / scale
            state["running_var"] = ((var + eps) / scale**2 - eps).clamp(min=0)
        if self.activation_step is not None:
            state["weight"], state["bias"] = norm.weight / self.output_scale(), norm.bias / self.output_scale()
        return state

    @torch.no_grad()
    def output_scale(self) -> Tensor:
        """What the activations are multiples of, over what they are without a learned step: a scalar."""
        if self.activation_step is not None:
            return self.activation_step * quantizers.levels(self.quantization.bits)
        return torch.ones((), device=self.weight.device)

    def _weight_scale(self) -> Tensor:
        """The weights over their published values, a scalar or (out,)."""
        if self.weight_step is not None:
            return self.weight_step * quantizers.levels(self.quantization.bits) / 2
        if self.quantization.channel_scale:
            return quantizers.channel_scale(self.weight).clamp(min=torch.finfo(torch.float32).tiny)
        return torch.ones((), device=self.weight.device)


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a trained batch norm does: y = x * scale + offset, both float32 (channels,).

    Prediction takes exactly these two float32 operations, each rounded, in every engine; torch's own kernel may fuse
    them, and then the last bit depends on the machine.
    """
    scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
    return scale, norm.bias - norm.get_buffer("running_mean") * scale
