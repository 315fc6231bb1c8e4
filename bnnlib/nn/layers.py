"""The building block: a convolution with quantized weights, maximum pooling, batch norm, the quantized activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnnlib.config.params import Quantization
from bnnlib.config.topology import HEAD, Layer
from bnnlib.nn import quantizers

NORM_STATE = ("weight", "bias", "running_mean", "running_var")


class NormedConvolution(nn.Module):
    """Convolution, pooling and batch norm of a layer's sizes: (n, in, h, w) -> (n, out, h', w').

    ``latent``: see `convnet.ConvNet`. The head has no activation, all other layers are followed by `activate`.
    """

    def __init__(self, sizes: Layer, quantization: Quantization, *, latent: bool) -> None:
        super().__init__()
        self.quantization = quantization
        self.latent = latent
        self.pool = sizes.pool
        weight = torch.empty(sizes.out_channels, sizes.in_channels, sizes.kernel, sizes.kernel)
        self.weight = nn.Parameter(weight.uniform_(-0.5, 0.5) if latent else weight)
        self.norm = nn.BatchNorm2d(sizes.out_channels)
        self.weight_step = self.activation_step = None  # LSQ's, scalars
        if quantization.learned_step:
            self.weight_step = nn.Parameter(quantizers.lsq_weight_step(self.weight, quantization.bits))
            if sizes.name != HEAD:
                self.activation_step = nn.Parameter(quantizers.lsq_activation_step(quantization.bits))

    def forward(self, x: Tensor, progress: float = 1.0) -> Tensor:
        """Convolve, pool and normalise. ``progress``: share of the training that is done."""
        real = self.training and progress < self.quantization.real_share
        pooled = self.pooled_dots(x, self.weight if real else self.quantized_weight())
        if self.quantization.channel_scale:  # never negative, so that the largest dot product stays the largest
            pooled = pooled * quantizers.channel_scale(self.weight)[:, None, None]
        if self.training:
            normed: Tensor = self.norm(pooled)
            return normed
        scale, offset = affine(self.norm)
        return pooled * scale[:, None, None] + offset[:, None, None]

    def pooled_dots(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution's dot products, of each pooling window the largest: (n, in, h, w) -> (n, out, h', w').

        Before batch norm, so that a 1-bit network compares whole numbers. Channels are innermost in memory: on a CPU
        a training step then takes two thirds of the time (docs/training.md).
        """
        dots = functional.conv2d(x, weight.contiguous(memory_format=torch.channels_last))
        return functional.max_pool2d(dots, self.pool) if self.pool > 1 else dots

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
