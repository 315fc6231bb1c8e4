"""Made-up points, networks, histories and mistakes, for the figures and pages that show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bnnlib.report.comparison import Point
from bnnlib.report.costs import Network
from bnnlib.sweeps import results
from bnnlib.sweeps.results import NONE, Group, Spread

# One of each kind, those of this study first; the sweep has a line of two networks.
POINTS = [
    Point("published", "1 bit", 6_964, 0.989, 0.001, 1),
    Point("published", "16 bits", 111_424, 0.994, 0.0008, 16),
    Point("seeds", "1 bit", 3_000, 0.985, 0.0005, 1),
    Point("seeds", "1 bit", 9_000, 0.992, 0.0005, 1),
    Point("seeds", "2 bits", 13_928, 0.991, 0.0005, 2),
    Point("baseline", "4 bits", 27_856, 0.992, 0.0005, 4),
    Point("old baseline", "1 bit", 6_964, 0.985, 0.0005, 1),
    Point("throughout", "A net", 363_776, 0.9888, 0.001),
    Point("wider input", "An MLP", 11_636, 0.975, 0.0016),
    Point("low bits", "A CNN", 5_360, 0.9906, 0.001),
    Point("logic", "A chip", 5_600, 0.9742, 0.0016),
    Point("full precision", "Another", 240_000, 0.9905, 0.001),
]
OWN = [point for point in POINTS if point.bits is not None]


def network(topology: str, bits: int, mean: float, **changes: Any) -> Network:
    """A network of five seeds whose score on validation is that on the test images; ``changes``: other fields."""
    values: dict[str, Any] = {
        "group": Group("mnist", topology, bits, "ste" if bits == 1 else NONE),
        "series": results.width(bits),
        "n": 5,
        "validation": mean,
        "score": Spread(mean, 0.0005),
        "weight_bytes": 1_000 * bits,
        "millions": 1.0,
        "microseconds": 2.0 * bits,
    }
    return Network(**{**values, **changes})


# A line of two, another width, a topology that is in no line; sizes and times as of made-up machines.
NETWORKS = [
    network("small", 1, 0.98, weight_bytes=1_000, millions=1.0, microseconds=1.0),
    network("large", 1, 0.99, weight_bytes=4_000, millions=4.0, microseconds=3.0),
    network("small", 4, 0.985, weight_bytes=4_000, millions=0.8, microseconds=6.0),
    network("baseline", 16, 0.992, weight_bytes=111_424, millions=30.0, microseconds=90.0),
]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def worst(*numbers: int) -> pd.DataFrame:
    """Images of these numbers, all sneakers (7): the binary network sees sandals (5), the full one is right."""
    return pd.DataFrame({"label": 7, "full": 7, "binary": 5}, index=list(numbers))


def history(*ratios: float) -> pd.DataFrame:
    """One epoch for each share of weights that change sign."""
    return pd.DataFrame({"epoch": range(1, len(ratios) + 1), "flip_ratio": ratios})
