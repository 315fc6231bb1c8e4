"""The generated part of the README: the table and the figures, from reports/ alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bnnlib import files
from bnnlib.errors import BnnError

BEGIN = "<!-- results: written by `bnn readme` from reports/; edits are lost -->"
END = "<!-- end of results -->"
FIGURES = "figures"


class ReadmeError(BnnError):
    """The page lacks its markers, or its generated part is stale."""


def updated(text: str, generated: str, name: str) -> str:
    """The page with ``generated`` between its markers; `ReadmeError` where a marker is not there exactly once."""
    for marker in (BEGIN, END):
        if text.count(marker) != 1:
            raise ReadmeError(f"{name}: the marker {marker} stands there {text.count(marker)} times, expected once")
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ReadmeError(f"{name}: the marker {END} stands before {BEGIN}")
    return f"{head}{BEGIN}\n\n{generated}\n{END}{tail}"


def generate(reports: Path) -> str:
    """The results as Markdown: table, curves, confusion matrices, kernels. Links are relative to reports/'s parent."""
    metrics = files.read_json(reports / "metrics.json")
    sizes = files.read_json(reports / "sizes.json")
    try:
        return _page(reports, metrics, sizes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReadmeError(
            f"{reports}: metrics.json or sizes.json lacks what the page shows ({reason}); "
            "`dvc repro evaluate` writes them"
        ) from error


def _page(reports: Path, metrics: dict[str, Any], sizes: dict[str, Any]) -> str:
    folder = f"{reports.name}/{FIGURES}"
    return "\n".join(
        [
            *_results(metrics, sizes),
            "",
            f"![Loss over the epochs]({folder}/loss.png)",
            f"![Macro-F1 over the epochs]({folder}/macro_f1.png)",
            "",
            *_side_by_side({f"{variant} network": f"{folder}/confusion_{variant}.png" for variant in metrics}),
            "",
            *_kernels(reports, list(metrics)),
            "",
        ]
    )


def _results(metrics: dict[str, Any], sizes: dict[str, Any]) -> list[str]:
    lines = [
        "| model | bits | epoch | macro-F1 | loss | accuracy | weight bytes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant, result in metrics.items():
        test = result["test"]
        lines.append(
            f"| [{variant}](models/{variant}.safetensors) | {result['bits']} | {result['epoch']} "
            f"| {test['macro_f1']:.4f} | {test['loss']:.4f} | {test['accuracy']:.4f} "
            f"| {sizes[variant]['weight_bytes']:,} |"
        )
    return lines


def _side_by_side(images: dict[str, str]) -> list[str]:
    """A table of one row of pictures, their captions above."""
    return [
        f"| {' | '.join(images)} |",
        f"| {' | '.join(':---:' for _ in images)} |",
        f"| {' | '.join(f'![{caption}]({path})' for caption, path in images.items())} |",
    ]


def _kernels(reports: Path, variants: list[str]) -> list[str]:
    """A table of the kernel pictures that the folder holds, a row for each network."""
    rows = {variant: sorted((reports / FIGURES).glob(f"kernel_{variant}_*.png")) for variant in variants}
    columns = range(1, max(map(len, rows.values())) + 1)
    lines = [
        f"| first-layer kernel | {' | '.join(map(str, columns))} |",
        f"| --- | {' | '.join(':---:' for _ in columns)} |",
    ]
    for variant, paths in rows.items():
        cells = (f"![{path.stem}]({reports.name}/{FIGURES}/{path.name})" for path in paths)
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines
