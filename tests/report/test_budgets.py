"""The best networks at equal cost, and when a difference is claimed."""

from __future__ import annotations

import pytest
from support.figure_data import network

from bnnlib.report import budgets
from bnnlib.report.costs import Cost, Network
from bnnlib.sweeps.results import Spread

BYTES: Cost = lambda each: each.weight_bytes  # noqa: E731
TIME: Cost = lambda each: each.microseconds  # noqa: E731

ONE = [network("a", 1, 0.97, weight_bytes=10), network("b", 1, 0.98, weight_bytes=30)]
WIDER = [network("a", 2, 0.96, weight_bytes=20), network("b", 4, 0.99, weight_bytes=40)]


def test_a_budget_for_each_cost_from_which_on_another_network_is_best() -> None:
    found = budgets.at([*WIDER, *ONE], BYTES)
    assert [(each.limit, each.one_bit, each.wider) for each in found] == [
        (20, ONE[0], WIDER[0]),
        (30, ONE[1], WIDER[0]),
        (40, ONE[1], WIDER[1]),
    ]
    assert [each.difference for each in found] == pytest.approx([0.01, 0.02, -0.01])
    assert [each.verdict for each in found] == ["higher", "higher", "lower"]


def test_a_larger_network_that_is_worse_changes_nothing() -> None:
    worse = network("c", 1, 0.95, weight_bytes=35)
    assert budgets.at([*ONE, *WIDER, worse], BYTES) == budgets.at([*ONE, *WIDER], BYTES)


def test_validation_chooses_and_the_test_images_score() -> None:
    lucky = network("c", 1, 0.999, weight_bytes=10, validation=0.9)
    [first, *_] = budgets.at([*ONE, *WIDER, lucky], BYTES)
    assert first.one_bit == ONE[0]


def test_a_cost_that_is_not_known_and_another_kind_of_topology_are_left_out() -> None:
    unknown = network("c", 1, 0.999, microseconds=None)
    other = network("baseline", 1, 0.999, microseconds=0.5)
    networks = [network("a", 1, 0.98), network("a", 4, 0.97), unknown, other]
    [found] = budgets.at(networks, TIME)
    assert (found.one_bit, found.wider) == tuple(networks[:2])


def test_one_kind_alone_has_no_budget() -> None:
    for networks in (ONE, WIDER, []):
        assert budgets.at(networks, BYTES) == []
        assert budgets.alone(networks, BYTES) is None
        assert budgets.largest(networks, BYTES) is None


@pytest.mark.parametrize(
    ("networks", "limit", "best"),
    [
        ([*ONE, *WIDER], 20, ONE[0]),
        ([*ONE, WIDER[1]], 40, ONE[1]),
        ([ONE[1], *WIDER], 30, WIDER[0]),
    ],
)
def test_below_the_least_of_one_kind_there_is_the_other_alone(
    networks: list[Network], limit: int, best: Network
) -> None:
    assert budgets.alone(networks, BYTES) == budgets.Alone(limit, best)


def test_kinds_that_begin_and_end_at_the_same_cost() -> None:
    pair = [network("a", bits, 0.98, weight_bytes=10) for bits in (1, 2)]
    assert budgets.alone(pair, BYTES) is None
    assert budgets.largest(pair, BYTES) is None


@pytest.mark.parametrize(("networks", "expected"), [([*ONE, *WIDER], ONE[1]), ([*WIDER[:1], *ONE], WIDER[0])])
def test_the_largest_of_the_kind_that_ends_first(networks: list[Network], expected: Network) -> None:
    assert budgets.largest(networks, BYTES) == expected


@pytest.mark.parametrize(
    ("one", "other", "spread"),
    [
        ((0.001, 5), (0.002, 4), 2 * (0.000001 / 5 + 0.000004 / 4) ** 0.5),
        ((0.001, 2), (0.0, 3), 2 * (0.000001 / 2) ** 0.5),
        ((None, 1), (0.002, 4), None),
        ((0.002, 4), (None, 1), None),
    ],
)
def test_the_spread_is_two_standard_errors_of_the_difference(
    one: tuple[float | None, int], other: tuple[float | None, int], spread: float | None
) -> None:
    pair = [network("a", bits, 0.9, score=Spread(0.9, sd), n=n) for bits, (sd, n) in ((1, one), (2, other))]
    assert budgets.spread(*pair) == (None if spread is None else pytest.approx(spread))


@pytest.mark.parametrize(
    ("difference", "spread", "verdict"),
    [
        (0.0011, 0.001, "higher"),
        (-0.0011, 0.001, "lower"),
        (0.001, 0.001, "no clear difference"),  # it must exceed the spread
        (-0.001, 0.001, "no clear difference"),
        (0.0, 0.0, "no clear difference"),
        (0.5, None, "no clear difference"),
    ],
)
def test_a_difference_is_claimed_where_it_exceeds_the_spread(
    difference: float, spread: float | None, verdict: str
) -> None:
    assert budgets.Budget(1, ONE[0], WIDER[0], difference, spread).verdict == verdict
