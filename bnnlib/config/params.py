"""Typed, strict schema of params.yaml: every error is found before anything runs, and all are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bnnlib.config import messages
from bnnlib.config.recipes import AnyRecipe, Augmentations, BinaryRecipe, MultibitRecipe, WideRecipe
from bnnlib.config.spec import (
    FULL_BITS,
    Bits,
    Bop,
    Quantization,
    Runtime,
    Share,
    Training,
    Variant,
)
from bnnlib.config.topology import Blocks, Section, Topology
from bnnlib.config.topology import InputThresholds as AnyThresholds
from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import DataName

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ParamsError(BnnError):
    """params.yaml cannot be used; the message lists every error."""


class Data(Section):
    """Which data set, and how it is split. ``limit``: only the first N images of each file, for quick trials.

    ``split_seed`` is apart from the seed of the trainings, so that several of these share one split.
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


class Pass(Section):
    """One of several passes over an image: shifted by whole pixels, then brighter; see `packed.model.Pass`."""

    down: Annotated[int, Field(ge=-27, le=27)] = 0
    right: Annotated[int, Field(ge=-27, le=27)] = 0
    brighter: Annotated[int, Field(ge=-255, le=255)] = 0


class Model(Section):
    """``bits``: width of weights and activations of the network that `train_binary` trains.

    ``topology``: the name of the topology of both networks, one of the section `topologies`. ``passes``: those beside
    the plain one that a packed network can make.
    """

    bits: Annotated[Bits, BeforeValidator(_no_bool)]
    topology: str
    passes: Annotated[tuple[Pass, ...], Field(max_length=15, strict=False)]


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

    def of(self, data: DataName, bits: int) -> Topology:
        """The topology of a network of this width for a data set; only one of 1 bit has input thresholds."""
        return Topology(input=getattr(self.input, data) if bits == 1 else (), blocks=self.blocks)


class Train(Section):
    """What all trainings share; see `spec.Training`."""

    norm_images: Annotated[int, Field(ge=100, le=60_000)] | None


class Threshold(Section):
    """Bounds on the test set: macro-F1 at least, loss at most."""

    macro_f1: Share
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


class Grid(Section):
    """Trainings of the stage `sweep`: all combinations. The names are those of topologies; see `sweeps.grid`."""

    datasets: Annotated[tuple[DataName, ...], Field(min_length=1, strict=False)]
    topologies: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    bits: Annotated[tuple[Bits, ...], Field(min_length=1, strict=False)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]


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
    sweep: Annotated[tuple[Grid, ...], Field(strict=False)]
    thresholds: DataThresholds

    @field_validator("model")
    @classmethod
    def _topology_is_known(cls, value: Model, info: ValidationInfo) -> Model:
        known = info.data.get("topologies", {value.topology: None})  # none where they are wrong themselves
        if value.topology not in known:
            names = ", ".join(known)
            raise PydanticCustomError(
                "rule",
                "{found} is not allowed; allowed: {names} (the section topologies)",
                {"inside": ".topology", "found": repr(value.topology), "names": names},
            )
        return value

    def topology(self, bits: int) -> Topology:
        """The topology that the model names; at 1 bit with the input thresholds of the data set."""
        return self.topologies[self.model.topology].of(self.data.name, bits)

    def training(self, variant: Variant) -> Training:
        """The parameters of one variant: `full` is always 16 bits wide, `binary` is model.bits wide."""
        if variant == "full":
            return self._training(variant, Quantization(bits=FULL_BITS), self.full)
        bits = self.model.bits
        if bits == 1:
            quantization = Quantization(bits=bits, **self.binary.quantizer.model_dump())
            clip = None if isinstance(self.binary.optimizer, Bop) else self.binary.latent_clip
            return self._training(variant, quantization, self.binary, clip)
        learned_step = self.multibit.quantizer.learned_step and bits < FULL_BITS
        return self._training(variant, Quantization(bits=bits, learned_step=learned_step), self.multibit)

    def of_training(self, variant: Variant) -> dict[str, Any]:
        """The parameters that the training of a variant uses, by their dotted names."""
        bits = FULL_BITS if variant == "full" else self.model.bits
        recipe = variant if variant == "full" or bits == 1 else "multibit"
        topology = f"topologies.{self.model.topology}"
        used = ["seed", "runtime", "model.topology", f"{topology}.blocks", "train", recipe]
        if variant == "binary":
            used.append("model.bits")
        if bits == 1:
            used.append(f"{topology}.input.{self.data.name}")
        inside = tuple(f"{name}." for name in used)
        other_data = [name for name in Augmentations.model_fields if name != self.data.name]
        others = tuple(f"{recipe}.augmentation.{name}." for name in other_data)
        found = {name: value for name, value in flatten(self).items() if not name.startswith(others)}
        return {name: value for name, value in found.items() if name in used or name.startswith(inside)}

    def _training(
        self, variant: Variant, quantization: Quantization, recipe: AnyRecipe, latent_clip: float | None = None
    ) -> Training:
        return Training(
            variant=variant,
            topology=self.topology(quantization.bits),
            quantization=quantization,
            seed=self.seed,
            runtime=self.runtime,
            norm_images=self.train.norm_images,
            recipe=recipe.of(self.data.name),
            latent_clip=latent_clip,
        )


def load(path: str | Path) -> Params:
    """Read and check a params.yaml (YAML 1.2, in which 1e-06 is a number); `ParamsError` lists every error."""
    found = files.read_bytes(Path(path), "; run from the repository's root")
    try:
        content = YAML(typ="safe", pure=True).load(found.decode("utf-8"))
    except (YAMLError, ValueError) as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(content, str(path))


def parse(content: object, name: str) -> Params:
    """Check the content of a params.yaml called ``name``."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(messages.listed(name, messages.lines(error, Params))) from error


def flatten(values: Mapping[str, Any] | BaseModel, prefix: str = "") -> dict[str, Any]:
    """Nested mappings to one level with dotted names: {"model": {"bits": 1}} -> {"model.bits": 1}."""
    mapping = values.model_dump() if isinstance(values, BaseModel) else values
    return dict(_leaves(mapping, prefix))


def _leaves(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
