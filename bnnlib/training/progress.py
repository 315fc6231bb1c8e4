"""Show a training as it runs: a bar on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from bnnlib.training.loop import Epoch


def follow(epochs: Iterable[Epoch], total: int, title: str, console: Console | None = None) -> Iterator[Epoch]:
    """Pass the epochs on and show each."""
    console = console or Console()
    if not console.is_terminal:
        for epoch in epochs:
            console.print(f"{title}: epoch {epoch.epoch}/{total}, {_line(epoch)}", soft_wrap=True, highlight=False)
            yield epoch
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    # An epoch may take a minute: the time left is estimated from the last ten, where rich looks back 30 s.
    with Progress(*columns, console=console, speed_estimate_period=600) as progress:
        task = progress.add_task(title, total=total, losses="")
        for epoch in epochs:
            losses = f"loss {epoch.train.loss:.4f} (validation {epoch.validation.loss:.4f})"
            progress.update(task, advance=1, losses=losses)
            yield epoch


def _line(epoch: Epoch) -> str:
    flips = "" if epoch.flip_ratio is None else f", flips {epoch.flip_ratio:.2%}"
    return (
        f"loss {epoch.train.loss:.4f} (validation {epoch.validation.loss:.4f}), "
        f"macro-F1 {epoch.train.macro_f1:.4f} (validation {epoch.validation.macro_f1:.4f}){flips}"
    )
