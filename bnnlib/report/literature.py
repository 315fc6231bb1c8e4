"""Other people's results to compare with: the table of docs/literature.md, read as it is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bnnlib.core.errors import BnnError

Kind = Literal["throughout", "wider input", "low bits", "logic", "full precision"]
HEADS = (
    *("network", "input bits", "activation bits", "weight bits", "weights", "bytes of weights"),
    *("test accuracy", "± points", "epoch chosen on", "source"),
)
NOT_SAID = "not said"
LOGIC = "logic"  # in place of a number of bits: lookup tables, gates or clauses, no weights
CHOICES = ("last epoch", "validation", "test set", NOT_SAID)
SPREAD = re.compile(r"(\d+\.\d+)(?: \((\d+) runs\))?")


class LiteratureError(BnnError):
    """The table of other people's results cannot be read; the message names the line."""


@dataclass(frozen=True)
class Entry:
    """A network as its source reports it. None and () are what the source does not say, or does not have.

    ``accuracy``: share of the test images, the mean of ``runs`` networks. ``error``: for one network the standard error
    of its accuracy, for several the spread that the source gives. ``chosen_on``: what picked the epoch, of `CHOICES`.
    """

    name: str
    input_bits: int | None
    activation_bits: tuple[int, ...]
    weight_bits: tuple[int, ...]
    weights: int | None
    weight_bytes: int | None
    accuracy: float
    error: float
    runs: int
    chosen_on: str

    @property
    def kind(self) -> Kind:
        """How much of it is binarized: all, all except the input (also an unknown input), some or none."""
        if not self.weight_bits:
            return "logic"
        if min(self.weight_bits) > 8:
            return "full precision"
        if {*self.weight_bits, *self.activation_bits} != {1}:
            return "low bits"
        return "throughout" if self.input_bits == 1 else "wider input"


def parse(text: str, name: str) -> list[Entry]:
    """The rows of the one table with the columns `HEADS` in a page; `LiteratureError` names the page and the line."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _cells(line) == list(HEADS)]
    if len(starts) != 1:
        raise LiteratureError(f"{name}: {len(starts)} tables with the columns {', '.join(HEADS)}; expected one")
    return list(_rows(lines, starts[0] + 2, name))  # below the heads and their dashes


def _rows(lines: list[str], first: int, name: str) -> Iterator[Entry]:
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.startswith("|"):
            return
        try:
            yield _entry(_cells(line))
        except ValueError as error:
            raise LiteratureError(
                f"{name}, line {number}: {line}: {error}; expected the {len(HEADS)} cells {', '.join(HEADS)}"
            ) from error


def _entry(cells: list[str]) -> Entry:
    name, inputs, activations, bits, weights, size, accuracy, spread, chosen_on, _source = cells
    error, runs = _spread(spread)
    return Entry(
        name=name,
        input_bits=_count(inputs),
        activation_bits=_widths(activations, {LOGIC, NOT_SAID}),
        weight_bits=_widths(bits, {LOGIC}),
        weights=_count(weights),
        weight_bytes=_count(size),
        accuracy=float(accuracy.removesuffix("%")) / 100,
        error=error,
        runs=runs,
        chosen_on=_choice(chosen_on),
    )


def _count(cell: str) -> int | None:
    """A whole number such as 7,376, or ~6,000 where the source rounds it."""
    return None if cell in {NOT_SAID, "none"} else int(cell.removeprefix("~").replace(",", ""))


def _widths(cell: str, empty: set[str]) -> tuple[int, ...]:
    """One number of bits, or several in one network: "8, 2, 4"."""
    return () if cell in empty else tuple(int(width) for width in cell.split(", "))


def _spread(cell: str) -> tuple[float, int]:
    """Share and number of runs: "0.10" points of one network, "0.05 (5 runs)" of several."""
    found = SPREAD.fullmatch(cell)
    if found is None:
        raise ValueError(f"± points: {cell!r}, expected such as 0.10 or 0.05 (5 runs)")
    return float(found[1]) / 100, int(found[2] or 1)


def _choice(cell: str) -> str:
    if cell not in CHOICES:
        raise ValueError(f"epoch chosen on: {cell!r}, expected one of {', '.join(CHOICES)}")
    return cell


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
