"""Published networks to compare with: the table of docs/anchors.md, read as it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bnnlib.core.errors import BnnError

Kind = Literal["throughout", "wider input", "full precision"]
HEADS = (
    *("network", "input bits", "activation bits", "weight bits"),
    *("weights", "bytes of weights", "test accuracy", "source"),
)


class AnchorError(BnnError):
    """The table of published networks is not as it should be; the message names the line."""


@dataclass(frozen=True)
class Anchor:
    """A network as its source reports it; ``accuracy`` is a share of the test images."""

    name: str
    input_bits: int
    activation_bits: int
    weight_bits: int
    weights: int
    weight_bytes: int
    accuracy: float

    @property
    def kind(self) -> Kind:
        """Whether all of it is binarized, all but the pixels, or not both weights and activations."""
        if self.weight_bits > 1 or self.activation_bits > 1:
            return "full precision"
        return "throughout" if self.input_bits == 1 else "wider input"


def parse(text: str, name: str) -> list[Anchor]:
    """The rows of the table with the columns `HEADS` in a page of that name; `AnchorError` where it is not there."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _cells(line) == list(HEADS)]
    if len(starts) != 1:
        raise AnchorError(f"{name}: {len(starts)} tables with the columns {', '.join(HEADS)}; expected one")
    return list(_rows(lines, starts[0] + 2, name))  # below the heads and their dashes


def _rows(lines: list[str], first: int, name: str) -> Iterator[Anchor]:
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.startswith("|"):
            return
        try:
            network, *numbers, accuracy, _source = _cells(line)
            inputs, activations, bits, weights, size = (int(number.replace(",", "")) for number in numbers)
            share = float(accuracy.removesuffix("%")) / 100
        except ValueError as error:
            raise AnchorError(
                f"{name}, line {number}: {line}: expected {len(HEADS)} cells, {', '.join(HEADS)}, with whole numbers "
                f"such as 7,376 and an accuracy such as 98.88% ({error})"
            ) from error
        yield Anchor(network, inputs, activations, bits, weights, size, share)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
