"""What one bit gains and loses at equal bytes, operations and time, from the rows of the sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from bnnlib.report import budgets, costs
from bnnlib.report.budgets import Budget, Verdict
from bnnlib.report.costs import Cost, Network
from bnnlib.report.parts.results import spread
from bnnlib.report.parts.source import Source, table
from bnnlib.report.parts.speed import COMMANDS, SIZES

KINDS = {True: "1-bit", False: "wider"}


class Axis(NamedTuple):
    """A cost at which networks are compared. ``digits``: behind the point; ``remedy``: what makes it known."""

    name: str
    cost: Cost
    unit: str
    digits: int
    remedy: str

    def number(self, amount: float | None) -> str:
        """An amount without its unit."""
        return "" if amount is None else f"{amount:,.{self.digits}f}"


BYTES = Axis("bytes", lambda each: each.weight_bytes, "bytes", 0, "`bnn sweep` counts them")
OPERATIONS = Axis(
    "operations", lambda each: each.millions, "million", 2, "params.yaml has no topology of that name and size"
)
TIME = Axis("time", lambda each: each.microseconds, "µs", 1, f"`{COMMANDS[SIZES]}` measures it")


def sentences(source: Source) -> str:
    """What one bit gains and loses at equal bytes, at equal operations and at equal time, in a sentence each."""
    compared = [each for each in source.networks if each.in_family]
    absent = [word for one, word in KINDS.items() if not any((each.group.bits == 1) is one for each in compared)]
    if absent:
        lacking = " and no ".join(absent)
        return f"Not known yet: {source.report('sweep.csv')} has no {lacking} network on this data set."
    return "\n".join(f"- **At equal {axis.name}**: {_sentence(compared, axis)}" for axis in (BYTES, OPERATIONS, TIME))


def at_equal_bytes(source: Source) -> str:
    """The best networks at each number of bytes."""
    return _budgets(source, BYTES)


def at_equal_operations(source: Source) -> str:
    """The best networks at each number of operations."""
    return _budgets(source, OPERATIONS)


def at_equal_time(source: Source) -> str:
    """The best networks at each time."""
    return _budgets(source, TIME)


def cost(source: Source) -> str:
    """The figure of score against operations and time."""
    return source.figure("cost", "Macro-F1 against operations and against time")


def widths(source: Source) -> str:
    """A row for each topology of the sweep, a column for each width: score, seeds, bytes."""
    found = source.networks
    if not found:
        return f"Not known yet: {source.report('sweep.csv')} has no network on this data set."
    columns = list(dict.fromkeys(each.series for each in found))
    rows = {name: [each for each in found if each.group.topology == name] for name in _topologies(found)}
    cells = [[name, *(_cell(row, column) for column in columns)] for name, row in rows.items()]
    note = (
        "Cells: macro-F1 on the test images, mean ± standard deviation over the seeds; in parentheses their number; "
        f"bytes of weights. From {source.report('sweep.csv')}."
    )
    return f"{table(['topology', *columns], cells)}\n\n{note}"


def _topologies(found: Iterable[Network]) -> list[str]:
    """The names of the topologies, small ones first."""
    return list(dict.fromkeys(each.group.topology for each in sorted(found, key=_weights)))


def _weights(network: Network) -> float:
    return network.weight_bytes / network.group.bits


def _cell(row: Sequence[Network], column: str) -> str:
    return "; ".join(f"{spread(each.score)} ({each.n}), {each.weight_bytes:,}" for each in row if each.series == column)


def _sentence(compared: Sequence[Network], axis: Axis) -> str:
    found = budgets.at(compared, axis.cost)
    if not found:
        return f"not known yet; {axis.remedy}."
    runs = [list(run) for _, run in groupby(found, key=lambda each: each.verdict)]
    said = "; ".join(_run(run, axis, is_last=run is runs[-1]) for run in runs)
    return " ".join([f"{said}.", *_ends(compared, axis)])


def _run(run: Sequence[Budget], axis: Axis, *, is_last: bool) -> str:
    """Neighbouring budgets of one verdict: where they are, and by how much the scores differ."""
    verdict: Verdict = run[0].verdict
    first, last = axis.number(run[0].limit), axis.number(run[-1].limit)
    if is_last:
        where = f"from {first} {axis.unit} on"
    else:
        where = f"at {first} {axis.unit}" if first == last else f"from {first} to {last} {axis.unit}"
    sizes = sorted({f"{abs(each.difference):.4f}" for each in run})
    by = " to ".join(dict.fromkeys([sizes[0], sizes[-1]]))
    if verdict != "no clear difference":
        return f"one bit scores {verdict} {where} (by {by})"
    single = sum(each.spread is None for each in run)
    how_many = "" if single == len(run) else f"{single} of {len(run)} from "
    return f"there is {verdict} {where}" + (f" ({how_many}single seeds)" if single else "")


def _ends(compared: Sequence[Network], axis: Axis) -> Iterator[str]:
    """Where there is only one kind of networks: below the least of the other, above its largest."""
    least = budgets.alone(compared, axis.cost)
    if least is not None:
        below = f"Below {axis.number(least.limit)} {axis.unit} there are only {_kind(least.best)} networks"
        yield f"{below}, the best with {least.best.score.mean:.4f}."
    largest = budgets.largest(compared, axis.cost)
    if largest is not None:
        yield f"No {_kind(largest)} network above {axis.number(axis.cost(largest))} {axis.unit} was trained."


def _kind(network: Network) -> str:
    return KINDS[network.group.bits == 1]


def _budgets(source: Source, axis: Axis) -> str:
    compared = [each for each in source.networks if each.in_family]
    lacking, found = costs.lacking(compared, axis.cost), budgets.at(compared, axis.cost)
    lines = []
    if found:
        heads = [f"{axis.unit} at most", "best 1-bit network", "macro-F1", "best wider network", "macro-F1"]
        lines.append(table([*heads, "difference", "clear above", "one bit"], [_row(each, axis) for each in found]))
    if lacking:
        reason = f"because their cost in {axis.name} is not known"
        lines.append(f"Left out, {reason}: {', '.join(lacking)}; {axis.remedy}.")
    return "\n\n".join(lines) or "Not known yet: the sweep lacks a 1-bit or a wider network on this data set."


def _row(budget: Budget, axis: Axis) -> list[str]:
    least = "one seed" if budget.spread is None else f"{budget.spread:.4f}"
    difference = round(budget.difference, 4) + 0  # no minus before a 0
    return [
        axis.number(budget.limit),
        *_best(budget.one_bit, axis),
        *_best(budget.wider, axis),
        *(f"{difference:+.4f}", least, budget.verdict),
    ]


def _best(network: Network, axis: Axis) -> list[str]:
    return [f"{network}: {axis.number(axis.cost(network))}", f"{spread(network.score)} ({network.n})"]
