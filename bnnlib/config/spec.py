"""What decides a training, as typed values: widths, quantization, augmentation, optimizers, recipes."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from bnnlib.config.topology import Section, Topology

Variant = Literal["full", "binary"]
Bits = Literal[1, 2, 4, 8, 16, 32]
BITS: tuple[int, ...] = get_args(Bits)
FULL_BITS: Bits = 16
Surrogate = Literal["ste", "approx", "swish", "annealed"]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Runtime(Section):
    """Where and how the arithmetic runs. The thread count is fixed because it can change the last bits of results."""

    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=256)]


class Augmentation(Section):
    """Random changes of the training images, drawn for each image again, and made in this order.

    ``mirror``: half of the images are mirrored left to right. ``zoom``: width and height each times a factor between
    1 / zoom and zoom, uniform in its logarithm. ``rotation``: rotated by up to this many degrees each way. ``shift``:
    shifted by up to this many pixels each way; black moves in. ``contrast``: every pixel times a factor between
    1 / contrast and contrast, uniform in its logarithm, at most white. A 1-bit network tells only foreground from
    background: to it, another contrast is another threshold, that is bolder or thinner strokes. ``share``: of the
    images that are changed at all.
    """

    share: Share = 1.0
    mirror: bool = False
    shift: Annotated[int, Field(ge=0, le=8)] = 0
    contrast: Annotated[float, Field(ge=1, le=10)] = 1.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    zoom: Annotated[float, Field(ge=1, le=2)] = 1.0

    @property
    def warps(self) -> bool:
        """Whether images are rotated or zoomed."""
        return self.rotation != 0 or self.zoom != 1


class Adam(Section):
    """Adam for all parameters. ``rate``: peak of the one-cycle schedule; ``weight_decay``: of convolution weights."""

    name: Literal["adam"]
    rate: Rate
    weight_decay: Share = 0.0


class Muon(Section):
    """Muon for convolution weights, Adam at ``adam_rate`` for the rest; see `optimizers.Muon`."""

    name: Literal["muon"]
    rate: Rate
    adam_rate: Rate
    weight_decay: Share = 0.0


class Bop(Section):
    """Bop for convolution weights, Adam at ``adam_rate`` for the rest; rate and threshold: see `optimizers.Bop`."""

    name: Literal["bop"]
    rate: Rate
    threshold: Share
    adam_rate: Rate


WideOptimizer = Annotated[Adam | Muon, Field(discriminator="name")]
Optimizer = Annotated[Adam | Muon | Bop, Field(discriminator="name")]


class Schedule(Section):
    """How long a network is trained. ``batch_size``: images of one step."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=2, le=10_000)]


class Recipe(Schedule):
    """How long, on what and by what a network is trained."""

    augmentation: Augmentation
    optimizer: Optimizer


class Quantization(Section):
    """How a network is quantized: its bit width, and what training may choose.

    ``surrogate``: gradient of the sign of activations, at 1 bit. ``channel_scale``: each channel is scaled by the
    magnitude of its latent weights, at 1 bit. ``learned_step``: LSQ instead of DoReFa, at 2 to 8 bits.
    ``real_share``: share of the training in which the weights are not quantized yet, at 1 bit: two-stage training.
    """

    bits: Bits
    surrogate: Surrogate = "ste"
    channel_scale: bool = False
    learned_step: bool = False
    real_share: Share = 0.0


class Training(Section):
    """All that decides one training.

    ``norm_images``: the first N training images re-estimate batch norm after each epoch (`loop.reestimate_norms`);
    None: it keeps the averages of the training. ``latent_clip``: bound of the latent weights, None for no bound.
    """

    variant: Variant
    topology: Topology
    quantization: Quantization
    seed: int
    runtime: Runtime
    norm_images: int | None
    recipe: Recipe
    latent_clip: float | None

    @property
    def bits(self) -> int:
        """Width of weights and activations."""
        return self.quantization.bits
