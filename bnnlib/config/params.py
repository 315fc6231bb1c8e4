"""Typed, strict schema of params.yaml: every fault is found before anything runs, and all are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bnnlib.config import messages
from bnnlib.config.topology import Blocks, Section, Topology
from bnnlib.config.topology import InputThresholds as AnyThresholds
from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import DataName

Variant = Literal["full", "binary"]
Bits = Literal[1, 2, 4, 8, 16, 32]
BITS: tuple[int, ...] = get_args(Bits)
FULL_BITS: Bits = 16
Surrogate = Literal["ste", "approx", "swish", "annealed"]
Rotation = Annotated[float, Field(ge=0, le=180)]  # degrees each way
Zoom = Annotated[float, Field(ge=1, le=2)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ParamsError(BnnError):
    """params.yaml cannot be used; the message lists every fault."""


class Runtime(Section):
    """Where and how the arithmetic runs. The thread count is fixed because it can change the last bits of results."""

    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=256)]


class Data(Section):
    """Which data set, and how it is split. ``limit``: only the first images of each file, for quick trials.

    ``split_seed`` is apart from the seed of the trainings, so that several of these share one division.
    """

    name: DataName
    split_seed: Seed
    validation_fraction: Annotated[float, Field(ge=0.01, le=0.5)]
    limit: Annotated[int, Field(ge=200, le=60_000)] | None


def _no_bool(value: object) -> object:
    """Refuse true and false, which Python counts as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a truth value")
    return value


class Model(Section):
    """``bits``: width of weights and activations of the network that `train_binary` trains.

    ``topology``: the name of that of both networks, one of the section `topologies`.
    """

    bits: Annotated[Bits, BeforeValidator(_no_bool)]
    topology: str


InputThresholds = Annotated[AnyThresholds, Field(min_length=1)]


class Input(Section):
    """The input thresholds of a 1-bit network for each data set, see `Topology`."""

    mnist: InputThresholds
    fashion_mnist: InputThresholds
    kmnist: InputThresholds


# As DVC, MLflow and the options of a sweep can spell it.
TopologyName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]


class NamedTopology(Section):
    """A topology as params.yaml has it: its input depends on the data set."""

    input: Input
    blocks: Blocks


class Train(Section):
    """What all trainings share.

    ``norm_images``: the first N training images re-estimate batch norm after each epoch
    (`loop.reestimate_norms`); None: it keeps the averages of the training.
    """

    norm_images: Annotated[int, Field(ge=100, le=60_000)] | None


class Recipe(Section):
    """How a network is trained. ``shift`` to ``zoom``: see `batches.Augmentation`."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    batch_size: Annotated[int, Field(ge=2, le=10_000)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    shift: Annotated[int, Field(ge=0, le=8)]
    shift_share: Annotated[float, Field(ge=0, le=1)]
    contrast: Annotated[float, Field(ge=1, le=10)]
    rotation: Rotation
    zoom: Zoom


class WideRecipe(Recipe):
    """More than 1 bit. ``optimizer``: of the weights; ``muon_rate``: Muon's peak learning rate, where it is chosen."""

    optimizer: Literal["adam", "muon"]
    muon_rate: Annotated[float, Field(gt=0, le=1)]


class MultibitRecipe(WideRecipe):
    """``learned_step``: see `Quantization`."""

    learned_step: bool


class BinaryRecipe(Recipe):
    """Quantizers: see `Quantization`. ``latent_clip``: bound of the latent weights.

    ``optimizer``: of the weights; ``muon_rate``: Muon's peak learning rate; ``bop_rate`` and ``bop_threshold``: see
    `BopRecipe`.
    """

    surrogate: Surrogate
    channel_scale: bool
    real_share: Annotated[float, Field(ge=0, le=1)]
    latent_clip: Annotated[float, Field(gt=0, le=100)]
    optimizer: Literal["adam", "muon", "bop"]
    muon_rate: Annotated[float, Field(gt=0, le=1)]
    bop_rate: Annotated[float, Field(gt=0, le=1)]
    bop_threshold: Annotated[float, Field(ge=0, le=1)]

    @field_validator("optimizer")
    @classmethod
    def _needs_plain_signs(cls, value: str, info: ValidationInfo) -> str:
        """Bop knows no real weights: what needs their magnitude goes with Adam alone."""
        others = [name for name in ("channel_scale", "real_share") if info.data.get(name)]
        if value == "bop" and others:
            needing = " and ".join(others)
            reason = f"bop has no latent weights, which {needing} needs; set that to 0 or false"
            raise PydanticCustomError("combination", "{reason}", {"reason": reason})
        return value


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
    real_share: float = 0.0


class BopRecipe(Section):
    """Bop's peak adaptivity rate and threshold, see `optimizers.Bop`."""

    rate: float
    threshold: float


class Threshold(Section):
    """Bounds on the test set: macro-F1 at least, loss at most."""

    macro_f1: Annotated[float, Field(ge=0, le=1)]
    loss: Annotated[float, Field(gt=0, le=100)]


class Thresholds(Section):
    """What `bnn check` demands of each variant."""

    full: Threshold
    binary: Threshold


class DataThresholds(Section):
    """The thresholds of each data set, None for a set without any."""

    mnist: Thresholds | None
    fashion_mnist: Thresholds | None
    kmnist: Thresholds | None


class Training(Section):
    """All that decides one training."""

    variant: Variant
    topology: Topology
    quantization: Quantization
    seed: int
    runtime: Runtime
    norm_images: int | None  # see `Train`
    recipe: Recipe
    latent_clip: float | None
    muon_rate: float | None  # None: Muon has no part
    bop: BopRecipe | None  # None and no muon_rate: Adam moves the weights too

    @property
    def bits(self) -> int:
        """Width of weights and activations."""
        return self.quantization.bits


class Params(Section):
    """The whole of params.yaml."""

    seed: Seed
    runtime: Runtime
    data: Data
    topologies: Annotated[dict[TopologyName, NamedTopology], Field(min_length=1)]
    model: Model  # after topologies, one of which it names
    train: Train
    full: WideRecipe
    binary: BinaryRecipe
    multibit: MultibitRecipe
    thresholds: DataThresholds

    @field_validator("model")
    @classmethod
    def _topology_is_known(cls, value: Model, info: ValidationInfo) -> Model:
        known = info.data.get("topologies", {value.topology: None})  # none where they are wrong themselves
        if value.topology not in known:
            names = ", ".join(known)
            raise PydanticCustomError(
                "topology",
                "{found} is not allowed; allowed: {names} (the section topologies)",
                {"inside": ".topology", "found": repr(value.topology), "names": names},
            )
        return value

    def topology(self, bits: int) -> Topology:
        """The topology that the model names; at 1 bit with the input thresholds of the data set."""
        named = self.topologies[self.model.topology]
        return Topology(input=getattr(named.input, self.data.name) if bits == 1 else (), blocks=named.blocks)

    def training(self, variant: Variant) -> Training:
        """The parameters of one variant: `full` is always 16 bits wide, `binary` is model.bits wide."""
        if variant == "full":
            return self._training(variant, Quantization(bits=FULL_BITS), self.full, muon_rate=_muon_rate(self.full))
        if self.model.bits == 1:
            return self._binary()
        return self._training(
            variant, self._multibit_quantization(), self.multibit, muon_rate=_muon_rate(self.multibit)
        )

    def _binary(self) -> Training:
        recipe = self.binary
        quantization = Quantization(
            bits=1, surrogate=recipe.surrogate, channel_scale=recipe.channel_scale, real_share=recipe.real_share
        )
        if recipe.optimizer == "bop":
            bop = BopRecipe(rate=recipe.bop_rate, threshold=recipe.bop_threshold)
            return self._training("binary", quantization, recipe, bop=bop)
        return self._training(
            "binary", quantization, recipe, latent_clip=recipe.latent_clip, muon_rate=_muon_rate(recipe)
        )

    def _training(
        self,
        variant: Variant,
        quantization: Quantization,
        recipe: Recipe,
        *,
        latent_clip: float | None = None,
        muon_rate: float | None = None,
        bop: BopRecipe | None = None,
    ) -> Training:
        return Training(
            variant=variant,
            topology=self.topology(quantization.bits),
            quantization=quantization,
            seed=self.seed,
            runtime=self.runtime,
            norm_images=self.train.norm_images,
            recipe=recipe,
            latent_clip=latent_clip,
            muon_rate=muon_rate,
            bop=bop,
        )

    def _multibit_quantization(self) -> Quantization:
        bits = self.model.bits
        return Quantization(bits=bits, learned_step=self.multibit.learned_step and bits < FULL_BITS)


def _muon_rate(recipe: WideRecipe | BinaryRecipe) -> float | None:
    return recipe.muon_rate if recipe.optimizer == "muon" else None


def load(path: Path) -> Params:
    """Read and check a params.yaml (YAML 1.2, in which 1e-06 is a number); `ParamsError` lists every fault."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror}); run from the repository's root") from error
    except (YAMLError, ValueError) as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(content, str(path))


def parse(content: object, name: str) -> Params:
    """Check the content of a params.yaml called ``name``."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        faults = messages.lines(error, Params)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ParamsError("\n".join([f"{name}: {count}", *(f"  {fault}" for fault in faults)])) from error


def flatten(values: Mapping[str, Any] | BaseModel, prefix: str = "") -> dict[str, Any]:
    """Nested mappings to one level with dotted names: {"train": {"epochs": 3}} -> {"train.epochs": 3}."""
    mapping = values.model_dump() if isinstance(values, BaseModel) else values
    return dict(_leaves(mapping, prefix))


def _leaves(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
