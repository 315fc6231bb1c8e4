"""The generated parts of README.md and of docs/: `pages` writes all of them from the reports alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bnnlib.core import files
from bnnlib.data.mnist import DataName
from bnnlib.report import robustness as bit_errors
from bnnlib.report.costs import Topologies
from bnnlib.report.parts import answer, evidence, markers, results, robustness, speed
from bnnlib.report.parts.markers import PageError
from bnnlib.report.parts.source import Source


class Part(NamedTuple):
    """How a part is written, the reports that it shows, and the command that makes these."""

    write: Callable[[Source], str]
    shows: str
    remedy: str = "`dvc repro`"


SCORES = Part(results.scores, "metrics.json, sizes.json, predictions.csv or sweep.csv")
FRONTIER = Part(evidence.frontier, "figures")
SWEPT = f"sweep.csv or {speed.SIZES}"
SWEEP_COMMANDS = f"`bnn sweep` or `{speed.COMMANDS[speed.SIZES]}`"
SPEED_COMMANDS = " and ".join(f"`{speed.COMMANDS[name]}`" for name in (speed.PREDICTION, speed.TRAINING))
PAGES = {
    "README.md": {
        "scores": SCORES,
        "speed": Part(speed.sentences, f"{speed.PREDICTION} or {speed.TRAINING}", SPEED_COMMANDS),
    },
    "docs/answer.md": {
        "answer": Part(answer.sentences, SWEPT, SWEEP_COMMANDS),
        "frontier": FRONTIER,
        "equal bytes": Part(answer.at_equal_bytes, SWEPT, SWEEP_COMMANDS),
        "cost": Part(answer.cost, "figures"),
        "equal operations": Part(answer.at_equal_operations, SWEPT, SWEEP_COMMANDS),
        "equal time": Part(answer.at_equal_time, SWEPT, SWEEP_COMMANDS),
        "passes": Part(evidence.passes, "sweep.csv", "`bnn sweep`"),
        "widths": Part(answer.widths, SWEPT, SWEEP_COMMANDS),
    },
    "docs/results.md": {
        "scores": SCORES,
        "agreement": Part(results.agreement, "agreement.json"),
        "frontier": FRONTIER,
        "seeds": Part(evidence.seeds, "sweep.csv", "`bnn sweep`"),
        "robustness": Part(robustness.bit_errors, bit_errors.TABLE, bit_errors.REMEDY),
        "curves": Part(results.curves, "figures"),
        "confusion": Part(results.confusion, "metrics.json"),
        "mistakes": Part(evidence.mistakes, "predictions.csv"),
        "kernels": Part(results.kernels, "metrics.json"),
        "flips": Part(evidence.flips, "metrics.json"),
    },
    "models/README.md": {
        "scores": SCORES,
        "mistakes": Part(evidence.mistakes, "predictions.csv"),
        "agreement": Part(results.agreement, "agreement.json"),
    },
    "docs/speed.md": {
        "prediction": Part(speed.prediction, speed.PREDICTION, f"`{speed.COMMANDS[speed.PREDICTION]}`"),
        "training": Part(speed.training, speed.TRAINING, f"`{speed.COMMANDS[speed.TRAINING]}`"),
        "sizes": Part(speed.sizes, speed.SIZES, f"`{speed.COMMANDS[speed.SIZES]}`"),
    },
}


def pages(root: Path, reports: Path, data: DataName, topologies: Topologies) -> dict[Path, str]:
    """Each page below ``root`` as it should be, by its path; nothing is written.

    ``reports``: the folder with the results on a data set; ``topologies``: of params.yaml. `PageError` where a page
    lacks a marker, or the reports what a part shows.
    """
    found = {}
    for name, parts in PAGES.items():
        path = root / name
        source = Source(reports, data, "../" * name.count("/"), topologies)
        text = files.read_text(path)
        for title, part in parts.items():
            text = markers.filled(text, title, _written(part, title, source), str(path))
        found[path] = text
    return found


def write(found: Mapping[Path, str]) -> list[Path]:
    """Write the pages that differ from what is there; which these are."""
    changed = stale(found)
    for path in changed:
        files.write_text(path, found[path])
    return changed


def stale(found: Mapping[Path, str]) -> list[Path]:
    """The pages that differ from what is there."""
    return [path for path, text in found.items() if files.read_text(path) != text]


def _written(part: Part, title: str, source: Source) -> str:
    try:
        return part.write(source)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PageError(
            f"{source.reports}: {part.shows}: lacks what the part {title} shows ({reason}); {part.remedy} writes it"
        ) from error
