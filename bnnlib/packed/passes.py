"""Several passes over an image: the network sees it as it is, then shifted and brighter, and the results are added up.

A 1-bit network compares sums with thresholds, so a small change of its image flips some bits by chance. In the sum over
several passes such chances cancel out. No weight more is stored, and an image takes as many times longer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bnnlib.packed.engines import Engine
from bnnlib.packed.model import MAX_PIXEL, PLAIN, ModelError, Pass
from bnnlib.packed.reference import affine


def logits(engine: Engine, images: NDArray[np.uint8], count: int = 1) -> NDArray[np.float32]:
    """Logits of the first ``count`` passes of the engine's model, float32 (n, classes). images: uint8 (n, side, side).

    The mean of the passes' logits: their dot products are added as whole numbers, then scaled once. `ModelError` where
    the model has fewer passes.
    """
    model = engine.model
    if not 1 <= count <= len(model.passes):
        raise ModelError(f"passes: {count}, expected 1 to {len(model.passes)}, which this network has")
    dots = np.zeros((len(images), len(model.head.weights)), np.int32)
    for each in model.passes[:count]:
        dots += engine.dots(seen(images, each))
    return affine(model.head, dots, count)


def seen(images: NDArray[np.uint8], how: Pass) -> NDArray[np.uint8]:
    """Images as they are seen in a pass: uint8 (n, side, side), the same shape."""
    if how == PLAIN:
        return images
    side = images.shape[1]
    reach = max(abs(how.down), abs(how.right))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    top, left = reach - how.down, reach - how.right
    shifted = padded[:, top : top + side, left : left + side]
    return (shifted.astype(np.int16) + how.brighter).clip(0, MAX_PIXEL).astype(np.uint8)
