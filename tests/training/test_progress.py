"""What a training prints while it runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from support import topologies

from bnnlib.nn.published import Published
from bnnlib.scoring.metrics import Scores
from bnnlib.training import progress
from bnnlib.training.loop import Epoch


def epochs(flip_ratio: float | None) -> list[Epoch]:
    train, validation = Scores(0.98765, 0.04321, 0.9), Scores(0.91234, 0.12345, 0.8)
    return [
        Epoch(number, 0.1, flip_ratio, train, validation, Published({}, topologies.SMALL, 1, number))
        for number in (1, 2, 3)
    ]


SCORES = "loss 0.0432 (validation 0.1235), macro-F1 0.9877 (validation 0.9123)"


@pytest.mark.parametrize(("flip_ratio", "flips"), [(None, ""), (0.0123, ", flips 1.23%"), (0.0, ", flips 0.00%")])
def test_plain_lines_where_there_is_no_terminal(flip_ratio: float | None, flips: str) -> None:
    # Narrow, so that a wrapped line would show.
    output = io.StringIO()
    given = epochs(flip_ratio)
    assert list(progress.follow(given, 3, "binary", Console(file=output, width=20))) == given
    assert output.getvalue().splitlines() == [f"binary: epoch {number}/3, {SCORES}{flips}" for number in (1, 2, 3)]


def test_a_line_is_printed_before_the_next_epoch_begins() -> None:
    output = io.StringIO()
    following = progress.follow(iter(epochs(None)), 3, "full", Console(file=output))
    next(following)
    assert output.getvalue().count("\n") == 1


def test_a_bar_on_a_terminal() -> None:
    output = io.StringIO()
    given = epochs(0.5)
    console = Console(file=output, force_terminal=True, width=80)
    assert list(progress.follow(given, 3, "binary", console)) == given
    assert "3/3" in output.getvalue()
    assert "loss 0.0432 (validation 0.1235)" in output.getvalue()
    assert "\x1b[" in output.getvalue()  # drawn in place


def test_the_bar_ends_with_the_training_that_fails() -> None:
    def failing() -> list[Epoch]:
        raise ArithmeticError

    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with pytest.raises(ArithmeticError):
        list(progress.follow((epoch for _ in range(1) for epoch in failing()), 3, "full", console))
    assert output.getvalue().endswith("\x1b[?25h")  # the cursor is back
