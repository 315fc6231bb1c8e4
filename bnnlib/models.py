"""The convnet of the study, trainable with latent weights, and its published form with weights of `bits` bits each.

Topology (grassking100/bnn): three building blocks - convolution 9x9 with 32, 16 and 8 channels, batch norm,
nonlinearity with its quantizer - then a convolution 4x4 to 10 logits with one affine (a batch norm). No padding:
28 -> 20 -> 12 -> 4 -> 1. 55,712 weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnnlib import binary_blocks, compiled, mnist, quantizers, real_blocks
from bnnlib.errors import BnnError
from bnnlib.layers import NORM_STATE, NormedConvolution
from bnnlib.params import Bits, Quantization

BLOCK_CHANNELS = (32, 16, 8)
BLOCK_KERNEL = compiled.KERNEL
HEAD_KERNEL = 4
INPUT_THRESHOLD = "input.threshold"  # name of a published tensor


class NonFiniteError(BnnError):
    """A number of the network became infinite or NaN, or does not fit the type that it is stored in."""


@dataclass(frozen=True)
class Published:
    """A trained network as it is written to disk: tensors by name, its bit width, and the epoch it comes from."""

    tensors: dict[str, Tensor]
    bits: Bits
    epoch: int

    @property
    def quantization(self) -> Quantization:
        """What of the training's quantizers prediction needs."""
        if self.bits == 1:
            return Quantization(bits=1, input_threshold=int(self.tensors[INPUT_THRESHOLD]))
        return Quantization(bits=self.bits)


class ConvNet(nn.Module):
    """uint8 images (n, 28, 28) -> float32 logits (n, 10).

    ``latent``: weights are real-valued and quantized in each forward pass (training). Otherwise they hold the
    quantized values themselves, as `restore` fills them in. ``compiled``: on a CPU compiled kernels may take
    the place of torch's own operators, for speed; without them the network can be exported, and can check the kernels.
    ``progress``, 0 to 1, is what the training sets for all that changes in its course.
    """

    def __init__(self, quantization: Quantization, *, latent: bool = True, compiled: bool = True) -> None:
        super().__init__()
        self.bits = quantization.bits
        self.input_threshold = quantization.input_threshold
        self.compiled = compiled
        self.progress = 0.0
        pairs = zip((1, *BLOCK_CHANNELS), BLOCK_CHANNELS, strict=False)
        self.blocks = nn.ModuleList(
            NormedConvolution(i, o, BLOCK_KERNEL, quantization, latent=latent, compiled=compiled, activated=True)
            for i, o in pairs
        )
        self.head = NormedConvolution(
            BLOCK_CHANNELS[-1],
            mnist.CLASSES,
            HEAD_KERNEL,
            quantization,
            latent=latent,
            compiled=compiled,
            activated=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits of a batch."""
        *blocks, head = self.layers()
        if self._by_kernels(images):
            x = self._run_kernels(images, blocks)
        else:
            x = prepare(images, self.head.quantization)[..., None]  # (n, height, width, 1)
            for block in blocks:
                x = block.activate(block(x, self.progress), self.progress)
        return head(x, self.progress)[:, 0, 0]

    def trains_by_kernels(self) -> bool:
        """Whether `binary_blocks` or `real_blocks` can do the whole training, if it is on a CPU."""
        choice = self.head.quantization
        plain = not choice.channel_scale and not choice.learned_step and choice.surrogate == "ste"
        return self.compiled and plain and choice.real_share == 0

    def _by_kernels(self, images: Tensor) -> bool:
        """Whether the kernels can compute the blocks of this batch."""
        if images.device.type != "cpu":
            return False
        if self.training:
            return self.trains_by_kernels()
        choice = self.head.quantization
        differentiated = torch.is_grad_enabled() and any(part.requires_grad for part in self.parameters())
        return self.compiled and not choice.channel_scale and not choice.learned_step and not differentiated

    def _run_kernels(self, images: Tensor, blocks: Sequence[NormedConvolution]) -> Tensor:
        if self.bits == 1:
            run_bits = binary_blocks.train if self.training else binary_blocks.predict
            return run_bits(images, self.input_threshold, blocks)
        run_reals = real_blocks.train if self.training else real_blocks.predict
        return run_reals(prepare(images, self.head.quantization), self.bits, blocks)

    def named_layers(self) -> list[tuple[str, NormedConvolution]]:
        """The four convolutions, first to last, each with the name that its tensors bear."""
        return [(name, layer) for name, layer in self.named_modules() if isinstance(layer, NormedConvolution)]

    def layers(self) -> list[NormedConvolution]:
        """The four convolutions, first to last."""
        return [layer for _, layer in self.named_layers()]


def prepare(images: Tensor, quantization: Quantization) -> Tensor:
    """Quantize the input: uint8 (n, 28, 28) -> float32 of one shape.

    1 bit: +1 where the pixel is >= the input threshold, else -1. 2 to 8 bits: pixel / 255 on the uniform grid of
    [0, 1]. 16 bits: normalised, as a half value. 32 bits: normalised.
    """
    bits = quantization.bits
    if bits == 1:
        return quantizers.signs(images.float() - quantization.input_threshold)
    x = images.float() / mnist.WHITE
    if bits < quantizers.HALF_BITS:
        return quantizers.uniform(x, bits)
    x = (x - mnist.MEAN) / mnist.STD
    return quantizers.half(x) if bits == quantizers.HALF_BITS else x


def publish(model: ConvNet, epoch: int) -> Published:
    """Everything that prediction needs, in the type it is stored in.

    Weights: uint8 codes for 1 to 8 bits (value = 2 * code / (2**bits - 1) - 1), float16 or float32 above. Batch norm:
    float16 for 16 bits, else float32. Of a 1-bit network the input threshold, too, int16.
    """
    real = torch.float16 if model.bits == quantizers.HALF_BITS else torch.float32
    _check_finite({f"{name}.weight": layer.weight for name, layer in model.named_layers()}, epoch)
    tensors = {INPUT_THRESHOLD: torch.tensor(model.input_threshold, dtype=torch.int16)} if model.bits == 1 else {}
    scale = torch.ones((), device=model.head.weight.device)  # of the input
    for name, layer in model.named_layers():
        tensors[f"{name}.weight"] = layer.stored_weight()
        for part, state in layer.folded_norm(scale).items():
            tensors[f"{name}.norm.{part}"] = state.to(real).clone()
        scale = layer.output_scale()
    _check_finite(tensors, epoch)
    return Published({name: tensor.cpu() for name, tensor in tensors.items()}, model.bits, epoch)


def layout(bits: Bits) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every published tensor of a network of so many bits."""
    tensors = publish(ConvNet(Quantization(bits=bits)), epoch=0).tensors
    return {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()}


def restore(published: Published, *, compiled: bool = True) -> ConvNet:
    """The published network, ready to predict (evaluation mode)."""
    model = ConvNet(published.quantization, latent=False, compiled=compiled)
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
    """The first kernels of the first layer as the network uses them, (number, 9, 9)."""
    weight: Tensor = restore(published).layers()[0].weight
    return weight[:number, 0].numpy()


def weight_count(model: ConvNet) -> int:
    """Number of convolution weights."""
    return sum(layer.weight.numel() for layer in model.layers())


def weight_bytes(model: ConvNet) -> int:
    """Bytes that the weights take at their bit width, without batch norm: number of weights * bits / 8."""
    return weight_count(model) * model.bits // 8


def _check_finite(tensors: dict[str, Tensor], epoch: int) -> None:
    bad = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NonFiniteError(f"epoch {epoch}: not finite as stored: {', '.join(bad)}; a smaller learning_rate may help")
