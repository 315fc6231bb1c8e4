"""How often a network is right when a share of its stored bits is flipped, in several random draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.data.splits import Split
from bnnlib.robustness import bits
from bnnlib.robustness.stored import Logits, Stored

# Conditions of the measurement, not choices of the study. 0 is the network as it is.
SHARES = (0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
DRAWS = 20
IMAGES = 2_000  # the first ones: torch takes a tenth of a second for them, and there are 900 draws in torch
KINDS = ("all", "weights")  # which bits may be flipped
SEEDS = 10**9  # makes whole numbers of the shares


class Row(NamedTuple):
    """One draw. ``bits``: the network's width. ``share``: of ``stored_bits``, those of the kind ``bits_flipped``.

    ``flips``: how many that is, at least 1 where the share is not 0. ``accuracy``: share of ``images`` that are right;
    ``not_finite``: share of those whose logits are not all finite, which count as wrong.
    """

    bits: int
    bits_flipped: str
    stored_bits: int
    share: float
    flips: int
    draw: int
    images: int
    accuracy: float
    not_finite: float


def measure(network: Stored, data: Split) -> Iterator[Row]:
    """All draws of a network, of each kind and share; one of the network as it is."""
    for kind in KINDS:
        for share in SHARES:
            for draw in range(DRAWS if share else 1):
                yield row(network, data, kind, share, draw)


def row(network: Stored, data: Split, kind: str, share: float, draw: int) -> Row:
    """One draw, the same each time: its share and its number seed it."""
    everything = {**network.weights, **network.norms}
    chosen = network.weights if kind == "weights" else everything
    stored = bits.count(chosen)
    flips = max(round(share * stored), 1) if share else 0
    random = np.random.default_rng([draw, round(share * SEEDS)])
    changed = bits.flipped(chosen, flips, random)
    logits = network.logits({**everything, **changed}, data.images)
    accuracy, not_finite = scores(logits, data.labels)
    return Row(network.bits, kind, stored, share, flips, draw, len(data.labels), accuracy, not_finite)


def scores(logits: Logits, labels: NDArray[np.uint8]) -> tuple[float, float]:
    """Share of images that are right, and share of those without finite logits, which are wrong."""
    finite = np.isfinite(logits).all(axis=1)
    right = finite & (logits.argmax(axis=1) == labels)
    return float(right.mean()), float((~finite).mean())
