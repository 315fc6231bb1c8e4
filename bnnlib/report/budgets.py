"""The best 1-bit network beside the best wider one at equal cost, and whether the seeds tell them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from bnnlib.report.costs import Cost, Network

Verdict = Literal["higher", "lower", "no clear difference"]
DEVIATIONS = 2  # that a difference must exceed


class Budget(NamedTuple):
    """The best networks that cost at most ``limit``, chosen by validation; their scores on test images.

    ``difference``: one bit minus wider. ``spread``: what its size must exceed; None where one of them has one seed.
    """

    limit: float
    one_bit: Network
    wider: Network
    difference: float
    spread: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether one bit scores higher; nothing is claimed that the seeds' spread explains."""
        if self.spread is None or abs(self.difference) <= self.spread:
            return "no clear difference"
        return "higher" if self.difference > 0 else "lower"


class Alone(NamedTuple):
    """The best network below the least ``limit`` that has both kinds: only this kind is that small."""

    limit: float
    best: Network


def at(networks: Iterable[Network], cost: Cost) -> list[Budget]:
    """A budget for each cost from which on one of the two best networks is another one; rising."""
    found: list[Budget] = []
    for limit, one_bit, wider in _bests(networks, cost):
        if one_bit is None or wider is None:
            continue
        if not found or (found[-1].one_bit, found[-1].wider) != (one_bit, wider):
            difference = one_bit.score.mean - wider.score.mean
            found.append(Budget(limit, one_bit, wider, difference, spread(one_bit, wider)))
    return found


def alone(networks: Iterable[Network], cost: Cost) -> Alone | None:
    """What the smaller kind has below the least cost of the other; None where both begin at the same cost."""
    before: Network | None = None
    for limit, one_bit, wider in _bests(networks, cost):
        if one_bit is not None and wider is not None:
            return None if before is None else Alone(limit, before)
        before = wider if one_bit is None else one_bit
    return None


def largest(networks: Iterable[Network], cost: Cost) -> Network | None:
    """The costliest network of the kind that ends first; None where both end at the same cost, or there is one kind."""
    known = _known(networks, cost)
    kinds = [[pair for pair in known if (pair[0].group.bits == 1) is one] for one in (True, False)]
    if not all(kinds):
        return None
    (best, first), (_, last) = sorted((max(pairs, key=_spent) for pairs in kinds), key=_spent)
    return None if first == last else best


def spread(one: Network, other: Network) -> float | None:
    """Two standard errors of the difference of two means; None where one has a single seed."""
    if one.score.sd is None or other.score.sd is None:
        return None
    return DEVIATIONS * math.sqrt(one.score.sd**2 / one.n + other.score.sd**2 / other.n)


def _bests(networks: Iterable[Network], cost: Cost) -> list[tuple[float, Network | None, Network | None]]:
    """For each cost that some network has: the best 1-bit and the best wider network that cost at most that much."""
    known = _known(networks, cost)
    return [
        (
            limit,
            _best(each for each, spent in known if spent <= limit and each.group.bits == 1),
            _best(each for each, spent in known if spent <= limit and each.group.bits > 1),
        )
        for limit in sorted({spent for _, spent in known})
    ]


def _known(networks: Iterable[Network], cost: Cost) -> list[tuple[Network, float]]:
    return [(each, spent) for each in networks if each.in_family and (spent := cost(each)) is not None]


def _spent(pair: tuple[Network, float]) -> float:
    return pair[1]


def _best(networks: Iterable[Network]) -> Network | None:
    return max(networks, key=lambda each: each.validation, default=None)
