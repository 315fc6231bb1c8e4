"""Two networks on the same images: McNemar's exact test of whether one is right more often.

Images that both get right, or both wrong, say nothing of the difference. Of the others, equally good networks would
win half each: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
Psychometrika 12, 1947, pages 153-157, doi:10.1007/BF02295996; here with the exact binomial distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from bnnlib.core.errors import BnnError
from bnnlib.nn import weights
from bnnlib.nn.published import restore
from bnnlib.packed import engines, file, passes
from bnnlib.packed.model import ModelError
from bnnlib.scoring import evaluation

PACKED, PUBLISHED = ".bnn", ".safetensors"
LEVEL = 0.05  # of p, below which the networks are said to differ


class PairError(BnnError):
    """Two networks cannot be compared as asked."""


@dataclass(frozen=True)
class Pair:
    """Numbers of images by who is right, and ``p``: the chance of a difference this large or larger by luck alone."""

    both: int
    first: int
    second: int
    neither: int
    p: float

    @property
    def images(self) -> int:
        """All images."""
        return self.both + self.first + self.second + self.neither


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Pair:
    """Compare two networks. ``first``, ``second``: (n,), whether each is right, of the same images in the same order.

    ``p`` is two-sided: 1 where no image distinguishes them.
    """
    if first.shape != second.shape:
        raise PairError(f"{len(first)} and {len(second)} images; expected the same images for both")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    decided = only_first + only_second
    p = float(stats.binomtest(only_first, decided).pvalue) if decided else 1.0
    return Pair(int((first & second).sum()), only_first, only_second, int((~first & ~second).sum()), p)


def predictions(network: Path, images: NDArray[np.uint8], count: int = 1) -> NDArray[np.intp]:
    """The classes (n,) that the network in a file gives to images, uint8 (n, 28, 28).

    ``count``: of the passes of a packed network; one in a .safetensors file sees each image once.
    """
    if network.suffix == PUBLISHED:
        model = restore(weights.read(network))
        return evaluation.logits(model, torch.from_numpy(images)).numpy().argmax(axis=1)
    if network.suffix != PACKED:
        raise PairError(f"{network}: the name ends in {network.suffix!r}; expected {PACKED} or {PUBLISHED}")
    try:
        return passes.logits(engines.best(file.read(network)), images, count).argmax(axis=1)
    except ModelError as error:
        raise PairError(f"{network}: {error}") from error


def sentence(pair: Pair, names: tuple[str, str]) -> str:
    """The comparison in words. ``names``: of both networks."""
    one, other = names
    first, second = (pair.both + alone for alone in (pair.first, pair.second))
    lines = [
        f"{one}: {first / pair.images:.2%} of {pair.images:,} images right",
        f"{other}: {second / pair.images:.2%}",
        f"Both are right on {pair.both:,} images, neither on {pair.neither:,}, only the first on {pair.first:,}, only "
        f"the second on {pair.second:,}.",
    ]
    if pair.p >= LEVEL:
        verdict = "no clear difference"
    else:
        verdict = f"the {'first' if pair.first > pair.second else 'second'} is right more often"
    return "\n".join([*lines, f"McNemar's exact test: p = {pair.p:.2g}, {verdict}."])
