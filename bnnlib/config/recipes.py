"""Recipes as params.yaml has them: for each width how it is trained, with an augmentation for each data set."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bnnlib.config.spec import Augmentation, Bop, Optimizer, Recipe, Schedule, Share, Surrogate, WideOptimizer
from bnnlib.config.topology import Section
from bnnlib.data.mnist import DataName


class Augmentations(Section):
    """The augmentation of each data set."""

    mnist: Augmentation
    fashion_mnist: Augmentation
    kmnist: Augmentation


class AnyRecipe(Schedule):
    """A recipe as params.yaml has it: its augmentation depends on the data set."""

    augmentation: Augmentations
    optimizer: Optimizer

    def of(self, data: DataName) -> Recipe:
        """The recipe for a data set."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            augmentation=getattr(self.augmentation, data),
            optimizer=self.optimizer,
        )


class WideRecipe(AnyRecipe):
    """The recipe of a network of more than 1 bit."""

    optimizer: WideOptimizer


class MultibitChoices(Section):
    """``learned_step``: see `spec.Quantization`."""

    learned_step: bool


class MultibitRecipe(WideRecipe):
    """The recipe of `train_binary` at more than 1 bit."""

    quantizer: MultibitChoices


class BinaryChoices(Section):
    """The choices at 1 bit; see `spec.Quantization`."""

    surrogate: Surrogate
    channel_scale: bool
    real_share: Share


class BinaryRecipe(AnyRecipe):
    """The recipe of `train_binary` at 1 bit. ``latent_clip``: bound of the latent weights, which Bop has none of."""

    quantizer: BinaryChoices
    latent_clip: Annotated[float, Field(gt=0, le=100)]

    @model_validator(mode="after")
    def _bop_needs_plain_signs(self) -> Self:
        """Bop knows no real weights: what needs their magnitude does not go with it."""
        needing = [name for name in ("channel_scale", "real_share") if getattr(self.quantizer, name)]
        if isinstance(self.optimizer, Bop) and needing:
            raise PydanticCustomError(
                "rule",
                "'bop' is not allowed here: it has no latent weights, so set {names} to 0 or false",
                {"inside": ".optimizer.name", "names": " and ".join(f"quantizer.{name}" for name in needing)},
            )
        return self
