"""The network's topology: what enters, the building blocks, the head; its sizes and costs by arithmetic.

A building block is a valid convolution of stride 1, maximum pooling, batch norm and an activation. The head is a
convolution that covers what is left of the map.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bnnlib.data.mnist import CLASSES, SIDE, WHITE

HEAD = "head"
# What every engine of the packed network can do; `packed.model` has the same limits for files.
MAX_PLANES = 64
MAX_BLOCKS = 16
MAX_CHANNELS = 1024


class Section(BaseModel):
    """A strict section of parameters."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Block(Section):
    """One building block. ``pool``: side of the pooling windows and their stride; 1 is no pooling.

    Rows and columns of the map that do not fill a window are left out, as torch's max_pool2d does it.
    """

    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
    kernel: Annotated[int, Field(ge=1, le=SIDE)]
    pool: Annotated[int, Field(ge=1, le=SIDE)]

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, value: object) -> object:
        """Also take the numbers without their names: [channels, kernel, pool]."""
        if isinstance(value, (list, tuple)) and len(value) == len(cls.model_fields):
            return dict(zip(cls.model_fields, value, strict=True))
        return value


def _rising(value: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse thresholds that do not rise: two equal planes would say the same twice."""
    if list(value) != sorted(set(value)):
        raise PydanticCustomError(
            "rule",
            "{thresholds} do not rise; allowed: pixel values in rising order, each once",
            {"thresholds": str(list(value))},
        )
    return value


def _fitting(value: tuple[Block, ...]) -> tuple[Block, ...]:
    """Refuse the first block that does not fit what is left of the image; the message has the arithmetic."""
    left = SIDE
    steps: list[str] = []
    for number, block in enumerate(value):
        if block.kernel > left:
            raise _misfit(number, f"a kernel of {block.kernel}", steps, left)
        convolved = left - block.kernel + 1
        steps.append(f"{left} - {block.kernel} + 1 = {convolved}")
        if block.pool > convolved:
            raise _misfit(number, f"pooling by {block.pool}", steps, convolved)
        left = convolved // block.pool
        if block.pool > 1:
            steps.append(f"{convolved} // {block.pool} = {left}")
    return value


def _misfit(number: int, what: str, steps: list[str], left: int) -> PydanticCustomError:
    shown = ", then ".join(steps) or "the image"
    return PydanticCustomError(
        "rule",
        "block {number} of the list: {what} on a map of {left} x {left} ({steps}); allowed: 1 to {left}",
        {"number": number + 1, "what": what, "left": left, "steps": shown},
    )


Pixel = Annotated[int, Field(ge=1, le=WHITE)]
InputThresholds = Annotated[tuple[Pixel, ...], Field(max_length=MAX_PLANES, strict=False), AfterValidator(_rising)]
Blocks = Annotated[tuple[Block, ...], Field(max_length=MAX_BLOCKS, strict=False), AfterValidator(_fitting)]


def filled_bytes(values: int, bits: int) -> int:
    """Bytes that values of this width take, the last one filled up."""
    return -(-values * bits // 8)


class Layer(NamedTuple):
    """Sizes of one convolution and its pooling; the sides are of the square maps before and behind them, in pixels."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    pool: int
    in_side: int

    @property
    def convolved_side(self) -> int:
        """Side of the map between convolution and pooling."""
        return self.in_side - self.kernel + 1

    @property
    def out_side(self) -> int:
        """Side of the output."""
        return self.convolved_side // self.pool

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.out_channels * self.in_channels * self.kernel**2

    @property
    def macs(self) -> int:
        """Multiply-adds for one image: every weight meets every pixel between convolution and pooling once."""
        return self.weights * self.convolved_side**2

    def weight_bytes(self, bits: int) -> int:
        """Bytes of its weights alone at their bit width, the last one filled up."""
        return filled_bytes(self.weights, bits)


class Topology(Section):
    """The shape of a network, and its costs by arithmetic.

    ``input``: pixel thresholds of a 1-bit network, rising; a bit plane for each, +1 where the pixel reaches it. Empty
    for wider networks, which take the image itself as one plane.
    """

    input: InputThresholds
    blocks: Blocks

    def layers(self) -> list[Layer]:
        """The convolutions, first to last, named as their tensors are."""
        channels, side = len(self.input) or 1, SIDE
        layers = []
        for number, block in enumerate(self.blocks):
            layers.append(Layer(f"blocks.{number}", channels, block.channels, block.kernel, block.pool, side))
            channels, side = block.channels, layers[-1].out_side
        return [*layers, Layer(HEAD, channels, CLASSES, side, 1, side)]

    @property
    def weights(self) -> int:
        """Number of convolution weights."""
        return sum(layer.weights for layer in self.layers())

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(layer.macs for layer in self.layers())

    def weight_bytes(self, bits: int) -> int:
        """Bytes that the weights take at their bit width, the last one filled up, without batch norm."""
        return filled_bytes(self.weights, bits)
