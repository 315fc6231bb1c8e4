"""The packed network as MLflow serves it: images (n, 28, 28) in, a table of digits and probabilities out.

MLflow imports this module by name and calls `_load_pyfunc` with the path of the packed file: no pickle anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.packed import engines, file, reference
from bnnlib.packed.model import MAX_PIXEL, PackedModel

# Of the signature. MLflow casts JSON to it silently: as bytes, 256 would become 0, and as any number, true and "1"
# would become 1. As objects the values stay as JSON has them.
INPUT_DTYPE = np.dtype(np.object_)
NUMBERS = {int, float}  # and not bool
LONGEST_SHOWN = 64  # bits
EXPECTED = f"expected whole numbers from 0 to {MAX_PIXEL}"


class PixelError(BnnError):
    """A pixel is not a whole number from 0 to 255, or the images are not an array of them."""


class Classifier:
    """What MLflow calls: `predict` of images."""

    def __init__(self, model: PackedModel) -> None:
        self._side = model.side
        self._engine = engines.best(model)

    def example(self) -> NDArray[Any]:
        """Two images as the signature wants them, (2, side, side): an upright stroke, and the same lying down."""
        upright = np.zeros((self._side, self._side), INPUT_DTYPE)  # of Python's 0
        upright[self._side // 7 : -(self._side // 7), self._side // 2 - 1 : self._side // 2 + 1] = MAX_PIXEL
        return np.stack([upright, upright.T])

    def predict(self, images: NDArray[Any], params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images, (n, side, side): whole numbers 0 (background) to 255 (foreground), numeric or as objects.

        One row for each image: ``digit`` int64, the class of the largest logit; ``probability`` float64, its softmax.
        `PixelError` for other values, `ModelError` for other sizes. ``params``, which MLflow passes, has no effect.
        """
        logits = self._engine.logits(_bytes(images))  # (n, classes)
        shares = reference.probabilities(logits)
        return pd.DataFrame({"digit": logits.argmax(axis=1), "probability": shares.max(axis=1)})


def _bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    try:
        values = np.asarray(images)
    except ValueError as error:  # nested lists of unequal lengths
        raise PixelError(f"images: not an array ({error}), expected images of equal sizes") from error
    _check_kind(values)
    with np.errstate(invalid="ignore"):
        inside = (values >= 0) & (values <= MAX_PIXEL)  # NaN is not
    sound = np.where(inside, values, 0)
    pixels = sound.astype(np.uint8)
    wrong = ~inside | (sound != pixels)  # fractions
    if wrong.any():
        raise PixelError(f"images: pixel {_shown(values[wrong][0])}, {EXPECTED}")
    return pixels


def _check_kind(values: NDArray[Any]) -> None:
    """Refuse what is not a number: truth values count as 1 and 0, and text may look like a number."""
    if values.dtype == np.object_:
        for value in values.flat:
            if type(value) not in NUMBERS:
                raise PixelError(f"images: a value of type {type(value).__name__}, {EXPECTED}")
    elif values.dtype.kind not in "uif":
        raise PixelError(f"images: values of type {values.dtype}, {EXPECTED}")


def _shown(value: float) -> str:
    """A pixel in a message. Python refuses to write one of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > LONGEST_SHOWN:
        return f"of {value.bit_length()} bits"
    return str(value)


def load(path: Path) -> Classifier:
    """Read a packed file."""
    return Classifier(file.read(path))


def _load_pyfunc(path: str) -> Classifier:
    """`load`, under the name by which MLflow calls it."""
    return load(Path(path))
