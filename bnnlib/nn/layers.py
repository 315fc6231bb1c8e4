"""The building block: a convolution with quantized weights, maximum pooling, batch norm, the quantized activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnnlib.config.topology import HEAD, Layer
from bnnlib.nn.widths import Quantizer

NORM_STATE = ("weight", "bias", "running_mean", "running_var")


class NormedConvolution(nn.Module):
    """Convolution, pooling and batch norm of a layer's sizes: (n, in, h, w) -> (n, out, h', w').

    ``latent``: see `convnet.ConvNet`. The head has no activation, all other layers are followed by `activate`.
    """

    def __init__(self, sizes: Layer, quantizer: Quantizer, *, latent: bool) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.latent = latent
        self.pool = sizes.pool
        weight = torch.empty(sizes.out_channels, sizes.in_channels, sizes.kernel, sizes.kernel)
        self.weight = nn.Parameter(weight.uniform_(-0.5, 0.5) if latent else weight)
        self.norm = nn.BatchNorm2d(sizes.out_channels)
        steps = quantizer.steps(self.weight, activated=sizes.name != HEAD) if latent else {}
        self.steps = nn.ParameterDict(steps)

    def forward(self, x: Tensor, progress: float = 1.0) -> Tensor:
        """Convolve, pool and normalise. ``progress``: share of the training that is done."""
        real = self.training and self.quantizer.is_real(progress)
        pooled = self.pooled_dots(x, self.weight if real else self.quantized_weight())
        factor = self.quantizer.channel_factor(self.weight)
        if factor is not None:  # never negative, so that the largest dot product stays the largest
            pooled = pooled * factor[:, None, None]
        if self.training:
            normed: Tensor = self.norm(pooled)
            return normed
        scale, offset = affine(self.norm)
        return pooled * scale[:, None, None] + offset[:, None, None]

    def pooled_dots(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution's dot products, of each pooling window the largest: (n, in, h, w) -> (n, out, h', w').

        Before batch norm, so that a 1-bit network compares whole numbers. Channels are innermost in memory: on a CPU
        a training step then takes two thirds of the time (docs/training-step.md).
        """
        dots = functional.conv2d(x, weight.contiguous(memory_format=torch.channels_last))
        return functional.max_pool2d(dots, self.pool) if self.pool > 1 else dots

    def quantized_weight(self) -> Tensor:
        """The weights that the forward pass uses, differentiable in the latent ones: (out, in, k, k)."""
        return self.quantizer.weight(self.weight, self.steps) if self.latent else self.weight

    def activate(self, x: Tensor, progress: float = 1.0) -> Tensor:
        """Nonlinearity and quantizer. ``progress``: share of the training that is done."""
        return self.quantizer.activation(x, self.steps, progress)

    @torch.no_grad()
    def stored_weight(self) -> Tensor:
        """The weight as it is published."""
        return self.quantizer.stored(self.weight, self.steps)

    @torch.no_grad()
    def folded_norm(self, input_scale: Tensor | None) -> dict[str, Tensor]:
        """State of a batch norm that does the same without scales, on inputs divided by ``input_scale``.

        The convolution then sees values on the grids that are published: weights in [-1, 1], activations as they are
        without a learned step. Its result y is smaller by a factor s, so the norm needs mean / s and, for
        (y - mean) / sqrt(var + eps) to stay, (var + eps) / s**2 - eps.
        """
        norm, eps = self.norm, self.norm.eps
        mean, var = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        state = {"weight": norm.weight, "bias": norm.bias, "running_mean": mean, "running_var": var}
        if self.quantizer.scaled:
            scale = self.quantizer.weight_scale(self.weight, self.steps)
            scale = scale if input_scale is None else scale * input_scale
            state["running_mean"] = mean / scale
            state["running_var"] = ((var + eps) / scale**2 - eps).clamp(min=0)
        output_scale = self.output_scale()
        if output_scale is not None:
            state["weight"], state["bias"] = norm.weight / output_scale, norm.bias / output_scale
        return state

    @torch.no_grad()
    def output_scale(self) -> Tensor | None:
        """What the activations are multiples of, over what they are when published; None where that is the same."""
        return self.quantizer.activation_scale(self.steps)


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a trained batch norm does: y = x * scale + offset, both float32 (channels,).

    Prediction takes exactly these two float32 operations, each rounded, in every engine; torch's own kernel may fuse
    them, and then the last bit depends on the machine.
    """
    scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
    return scale, norm.bias - norm.get_buffer("running_mean") * scale
