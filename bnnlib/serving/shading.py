"""How strongly each pixel stands out from the paper around it, whatever the light there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bnnlib.serving import morphology

# Strokes are narrower than this share of the picture's longer side; what is wider is paper, a desk or a shadow.
WIDEST_STROKE = 0.36
# Added to the brightness of the paper, by which is divided: of a black sheet little but noise would be left.
DARK, DARK_BOARD = 12, 32
NOISE = 5.0  # deviations of the paper's noise that are still paper


@dataclass(frozen=True)
class Relief:
    """``depth``: 0 is paper and 1 the strokes, float32 (height, width). ``contrast``: what 1 is, of the brightness.

    ``noise``: the depth that noise of the paper reaches.
    """

    depth: NDArray[np.float32]
    difference: NDArray[np.float32]
    contrast: float
    noise: float


def relief(grey: Image.Image, light: bool) -> Relief:
    """Dark strokes (or ``light`` ones) on paper of any shading: difference over brightness of the paper, scaled."""
    values = np.asarray(grey)
    smooth = morphology.median3(values)  # a single pixel is no paper
    if light:
        values, smooth = 255 - values, 255 - smooth
    width = int(WIDEST_STROKE * max(values.shape)) | 1
    paper = np.maximum(morphology.closing(smooth, width), smooth).astype(np.float32)
    difference = paper - values
    # Over the brightness of the paper: light or shadow on both paper and strokes cancels out.
    depth = difference / (255 - paper + DARK_BOARD if light else paper + DARK)
    some = depth[::3, ::3]  # enough to know the noise
    middle = float(np.median(some))
    depth -= middle
    noise = 1.4826 * NOISE * float(np.median(np.abs(some - middle)))
    contrast = _contrast(depth, noise)
    if contrast <= 0:
        return Relief(np.zeros_like(depth), difference, 0.0, 1.0)
    return Relief((depth / contrast).clip(0, 1), difference, contrast, noise / contrast)


def _contrast(depth: NDArray[np.float32], noise: float) -> float:
    """The depth of strokes: the largest that is not a speck or a hair line, else the largest at all."""
    for width in (7, 3):
        found = float(np.percentile(morphology.opened(depth, width)[::2, ::2], 99.8))
        if found > max(2 * noise, 0.05):
            return found
    return float(depth.max())
