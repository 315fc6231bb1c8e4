"""Quantizers: a few bits in the forward pass, a surrogate gradient in the backward pass.

Notation: ``x`` is the input, ``y`` the output, ``g`` the gradient that arrives at ``y``. Every function takes
and returns float32 tensors of one shape; the values of ``y`` lie on the grid that the docstring names. *Export* is
what the published network and, at 1 bit, the packed file keep of the quantizer; of a surrogate gradient they keep
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ABOVE_ONE = 1 + 2**-23  # the next float32 after 1
SWISH_BETA = 5.0
SWISH_END = 80.0


def signs(x: Tensor) -> Tensor:
    """Forward only: y = +1 where x >= 0, else -1. sign(0) = +1, because one bit has no third value."""
    return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)  # through a bool tensor it takes ten times as long


def ste_gradient(g: Tensor, x: Tensor, _progress: float) -> Tensor:
    """Straight-through estimator, clipped (BinaryNet, arXiv:1602.02830): the slope of clip(x, -1, 1).

    dx = g where abs(x) <= 1, else 0. Export: nothing.
    """
    return torch.ops.aten.hardtanh_backward(g, x, -ABOVE_ONE, ABOVE_ONE)  # 0 at and beyond its bounds


def approx_gradient(g: Tensor, x: Tensor, _progress: float) -> Tensor:
    """ApproxSign (Bi-Real Net, arXiv:1808.00278): the slope of a parabola on each side of 0.

    dx = g * (2 - 2 abs(x)) where abs(x) <= 1, else 0. Export: nothing.
    """
    return x.abs().mul_(-2).add_(2).clamp_(min=0).mul_(g)


def swish_gradient(g: Tensor, x: Tensor, _progress: float) -> Tensor:
    """SwishSign (BNN+, arXiv:1812.11800), beta = 5: slope 5 at 0, below 0 where abs(x) > 0.48.

    dx = g * beta * (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)). Export: nothing.
    """
    b = (x * SWISH_BETA).clamp_(-SWISH_END, SWISH_END)  # the slope is 0 in float32 long before cosh overflows
    return (2 - b * torch.tanh(b / 2)).mul_(SWISH_BETA).div_(1 + torch.cosh(b)).mul_(g)


def annealed_gradient(g: Tensor, x: Tensor, progress: float) -> Tensor:
    """Temperature-scheduled tanh (the error decay estimator of IR-Net, arXiv:1909.10788).

    dx = g * k t (1 - tanh(t x)**2), t = 0.1 * 100**progress, k = max(1 / t, 1): wide at the start of the training, with
    a slope of 1 at 0, ever closer to sign's own slope towards its end (t = 10). Export: nothing.
    """
    t = 0.1 * 100**progress
    k = max(1 / t, 1.0)
    return torch.tanh(x * t).square_().neg_().add_(1).mul_(k * t).mul_(g)


# What replaces the slope of sign, which is 0 almost everywhere: (g, x, share of the training that is done) -> dx.
SURROGATES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "ste": ste_gradient,
    "approx": approx_gradient,
    "swish": swish_gradient,
    "annealed": annealed_gradient,
}


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: str, progress: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate, ctx.progress = surrogate, progress
        return signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return SURROGATES[ctx.surrogate](grads[0], x, ctx.progress), None, None


def sign(x: Tensor, surrogate: str, progress: float = 0.0) -> Tensor:
    """Sign with a surrogate gradient.

    Forward: y = +1 where x >= 0, else -1. Backward: that of ``SURROGATES[surrogate]``. ``progress``: share of the
    training that is done, 0 to 1, which the temperature-scheduled surrogate follows. Export: a weight becomes its bit,
    1 for +1; in the packed file an activation and the batch norm before it become a threshold on whole numbers.
    """
    return _Sign.apply(x, surrogate, progress)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, quantized: Tensor) -> Tensor:
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def half(x: Tensor) -> Tensor:
    """Round to the nearest IEEE half value (binary16, round half to even), kept in a float32 tensor.

    Forward: y = float32(float16(x)), infinite where abs(x) >= 65520. Backward: dx = g. Export: a weight's half
    values; of an activation nothing, because prediction rounds it the same way.
    """
    return _StraightThrough.apply(x, x.detach().half().to(x.dtype))


def levels(bits: int) -> int:
    """Steps of the uniform grid of 2**bits values: 2**bits - 1."""
    return 2**bits - 1


def code_values(codes: Tensor, bits: int) -> Tensor:
    """Weight values of integer codes 0 .. 2**bits - 1: y = 2 * code / (2**bits - 1) - 1, so 1 bit gives -1 and +1."""
    return codes.float() * 2 / levels(bits) - 1


def sign_codes(w: Tensor) -> Tensor:
    """1-bit code of a latent weight: 1 where w >= 0, else 0. Returns uint8."""
    return (w >= 0).to(torch.uint8)


def _squash(w: Tensor) -> Tensor:
    """DoReFa's map of latent weights into [0, 1]: tanh(w) / (2 max abs(tanh(w))) + 1/2."""
    t = torch.tanh(w)
    peak = t.detach().abs().max().clamp(min=torch.finfo(w.dtype).tiny)  # all weights zero: every code is the middle
    return t / (2 * peak) + 0.5


def dorefa_codes(w: Tensor, bits: int) -> Tensor:
    """k-bit code of latent weights: round((2**k - 1) * (tanh(w) / (2 max abs(tanh(w))) + 1/2)). Returns uint8."""
    return torch.round(_squash(w.detach()) * levels(bits)).to(torch.uint8)


def dorefa_weight(w: Tensor, bits: int) -> Tensor:
    """Uniform quantizer of weights (DoReFa, arXiv:1606.06160, eq. 9), 2 <= bits <= 8, grid [-1, 1].

    Forward: y = 2 * code / (2**k - 1) - 1 with the code of `dorefa_codes`.
    Backward: dx = g * d/dw [tanh(w) / max abs(tanh(w))], the maximum held constant. Export: the codes, whose grid needs
    no scale.
    """
    return _StraightThrough.apply(2 * _squash(w) - 1, code_values(dorefa_codes(w, bits), bits))


def uniform(x: Tensor, bits: int) -> Tensor:
    """Forward only: y = round((2**k - 1) * clip(x, 0, 1)) / (2**k - 1)."""
    return torch.round(x.clamp(0, 1) * levels(bits)) / levels(bits)


def dorefa_activation(x: Tensor, bits: int) -> Tensor:
    """Uniform quantizer of activations (DoReFa, arXiv:1606.06160, section 2.5), 2 <= bits <= 8, grid [0, 1].

    Forward: y = round((2**k - 1) * clip(x, 0, 1)) / (2**k - 1). Backward: dx = g where 0 <= x <= 1, else 0. Export:
    nothing is stored, prediction rounds the same way.
    """
    inside = (x >= 0) & (x <= 1)  # clamp's own slope at 0 and 1 differs between releases of torch
    return _StraightThrough.apply(torch.where(inside, x, 0.0), uniform(x.detach(), bits))


class _LearnedStep(torch.autograd.Function):
    """Round x / step to the grid centre + (low .. high), times step; the gradients of LSQ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: float, high: float, centre: float) -> Tensor:
        scaled = x / step
        place = torch.round(scaled - centre).clamp_(low - centre, high - centre).add_(centre)
        ctx.save_for_backward(scaled, place)
        ctx.bounds = low, high
        return place * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        scaled, place = ctx.saved_tensors
        low, high = ctx.bounds
        inside = (scaled >= low) & (scaled <= high)
        slope = torch.where(inside, place - scaled, place)
        damping = 1 / math.sqrt(scaled.numel() * high)
        return torch.where(inside, grads[0], 0.0), (grads[0] * slope).sum() * damping, None, None, None


def lsq_weight_step(w: Tensor, bits: int) -> Tensor:
    """The step that training starts from, a scalar: 2 mean(abs(w)) / sqrt((2**k - 1) / 2)."""
    return 2 * w.detach().abs().mean() / math.sqrt(levels(bits) / 2)


def lsq_activation_step(bits: int) -> Tensor:
    """The same for activations behind a batch norm, whose mean(abs(x)) is sqrt(2 / pi): over sqrt(2**k - 1)."""
    return torch.tensor(2 * math.sqrt(2 / math.pi) / math.sqrt(levels(bits)))


def lsq_codes(w: Tensor, step: Tensor, bits: int) -> Tensor:
    """k-bit code of latent weights: clip(round(w / step - 1/2) + 2**(k - 1), 0, 2**k - 1). Returns uint8."""
    return (torch.round(w.detach() / step - 0.5) + 2 ** (bits - 1)).clamp_(0, levels(bits)).to(torch.uint8)


def lsq_weight(w: Tensor, step: Tensor, bits: int) -> Tensor:
    """Uniform quantizer of weights with a learned step size s, a scalar (LSQ, arXiv:1902.08153), 2 <= bits <= 8.

    The grid is DoReFa's times h s with h = (2**k - 1) / 2: symmetric and without 0, so that s folds into the batch
    norm at export (the paper's grid has a 0 and one step more below it than above).
    Forward: y = s * (code - h) with the code of `lsq_codes`.
    Backward: dx = g where abs(w / s) <= h, else 0; ds = sum(g * slope) / sqrt(n h) over the n weights, where slope is
    (y - w) / s inside that range, and y / s outside.
    """
    half_range = levels(bits) / 2
    return _LearnedStep.apply(w, step, -half_range, half_range, 0.5)


def lsq_activation(x: Tensor, step: Tensor, bits: int) -> Tensor:
    """Uniform quantizer of activations with a learned step size s, a scalar (LSQ, arXiv:1902.08153), 2 <= bits <= 8.

    Forward: y = s * round(clip(x / s, 0, 2**k - 1)). At export s folds into the batch norms before and after it.
    Backward: dx = g where 0 <= x / s <= 2**k - 1, else 0; ds = sum(g * slope) / sqrt(n (2**k - 1)) over the n values of
    x, where slope is (y - x) / s inside that range, and y / s outside.
    """
    return _LearnedStep.apply(x, step, 0, levels(bits), 0)


def channel_scale(w: Tensor) -> Tensor:
    """Magnitude of each output channel's latent weights, mean(abs(w)) (XNOR-Net, arXiv:1603.05279): (out,).

    Forward: the convolution with sign(w) is multiplied by it. Backward: dw = g sign(w) / n, for a channel of n weights.
    At export it folds into the batch norm behind the convolution.
    """
    return w.abs().mean(dim=(1, 2, 3))
