"""Made-up points, histories and mistakes, for the figures that show them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnlib.report.comparison import Point

# One of each kind, in the order of the legend.
POINTS = [
    Point("binary", "binary (1 bit)", 6_964, 0.989, 0.001),
    Point("full", "full (16 bits)", 111_424, 0.994, 0.0008),
    Point("seeds", "2 bits", 13_928, 0.991, 0.0005),
    Point("baseline", "1 bit", 6_964, 0.985, 0.0005),
    Point("throughout", "A net", 363_776, 0.9888, 0.001),
    Point("wider input", "An MLP", 11_636, 0.975, 0.0016),
    Point("low bits", "A CNN", 5_360, 0.9906, 0.001),
    Point("logic", "A chip", 5_600, 0.9742, 0.0016),
    Point("full precision", "Another", 240_000, 0.9905, 0.001),
]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def worst(*numbers: int) -> pd.DataFrame:
    """Images of these numbers, all sneakers (7): the binary network sees sandals (5), the full one is right."""
    return pd.DataFrame({"label": 7, "full": 7, "binary": 5}, index=list(numbers))


def history(*ratios: float) -> pd.DataFrame:
    """One epoch for each share of weights that change sign."""
    return pd.DataFrame({"epoch": range(1, len(ratios) + 1), "flip_ratio": ratios})
