"""Made-up points, flips and mistakes, for the figures that show them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnlib.report.comparison import Point

POINTS = [
    Point("full", "full (16 bits)", 111_424, 0.994),
    Point("binary", "binary (1 bit)", 6_964, 0.989),
    Point("seeds", "2 bits", 13_928, 0.991, 0.001),
    Point("baseline", "1 bit", 6_964, 0.985, 0.0005),
    Point("throughout", "A net", 363_776, 0.9888),
    Point("full precision", "Another", 240_000, 0.9905),
]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def worst(*numbers: int) -> pd.DataFrame:
    """Images of these numbers, all sneakers (7): sandals (5) to the binary network, right in the full one."""
    return pd.DataFrame({"label": 7, "full": 7, "binary": 5}, index=list(numbers))


def history(*ratios: float) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(1, len(ratios) + 1), "flip_ratio": ratios})
