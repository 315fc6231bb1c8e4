"""The packed network as MLflow serves it: images (n, 28, 28) in, a table of digits and probabilities out.

MLflow imports this module by name and calls `_load_pyfunc` with the path of the packed file: no pickle anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bnnlib.errors import BnnError
from bnnlib.packed import engines, reference
from bnnlib.packed import format as packed_format
from bnnlib.packed.model import MAX_PIXEL, PackedModel

# Of the signature. MLflow casts JSON to it without a word: as bytes, pixels scaled to [0, 1] would all become 0.
INPUT_DTYPE = np.dtype(np.float64)


class PixelError(BnnError):
    """A pixel that is no byte."""


class Classifier:
    """What MLflow calls: `predict` of images."""

    def __init__(self, model: PackedModel) -> None:
        self._side = model.side
        self._engine = engines.best(model)

    def example(self) -> NDArray[np.float64]:
        """Two images as the signature wants them, (2, side, side): an upright stroke, and the same lying down."""
        upright = np.zeros((self._side, self._side), INPUT_DTYPE)
        upright[self._side // 7 : -(self._side // 7), self._side // 2 - 1 : self._side // 2 + 1] = MAX_PIXEL
        return np.stack([upright, upright.T])

    def predict(self, images: NDArray[np.number], params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images, whole numbers 0 (background) to 255 (ink) of any type, (n, side, side).

        One row for each image: ``digit`` int64, the class of the largest logit; ``probability`` float64, its softmax.
        `PixelError` for other values, `ModelError` for other sizes. ``params``, which MLflow passes, has no effect.
        """
        logits = self._engine.logits(_bytes(images))  # (n, classes)
        shares = reference.probabilities(logits)
        return pd.DataFrame({"digit": logits.argmax(axis=1), "probability": shares.max(axis=1)})


def _bytes(images: NDArray[np.number]) -> NDArray[np.uint8]:
    values = np.asarray(images)
    whole = (values >= 0) & (values <= MAX_PIXEL) & (values == np.floor(values))  # NaN is none of these
    if not whole.all():
        raise PixelError(f"images: pixel {values[~whole][0]}, expected whole numbers from 0 to {MAX_PIXEL}")
    return values.astype(np.uint8)


def load(path: Path) -> Classifier:
    """Read a packed file."""
    return Classifier(packed_format.decode(path.read_bytes()))


def _load_pyfunc(path: str) -> Classifier:
    """`load`, under the name by which MLflow calls it."""
    return load(Path(path))
