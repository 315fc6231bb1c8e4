"""What a generated part is written from, and how it links to files from its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.core import files
from bnnlib.data.mnist import DataName
from bnnlib.report import comparison, costs
from bnnlib.report.comparison import Width
from bnnlib.report.costs import Network, Topologies

if TYPE_CHECKING:  # slow to import
    import pandas as pd

FIGURES = "figures"


@dataclass(frozen=True)
class Source:
    """The reports on a data set, for one page.

    ``up``: from the page's folder to the root, "" or "../". ``topologies``: of params.yaml, by which operations are
    counted.
    """

    reports: Path
    data: DataName
    up: str = ""
    topologies: Topologies = field(default_factory=dict)

    def link(self, path: str) -> str:
        """A link to a file of the repository, given from its root."""
        return f"[{path}]({self.up}{path})"

    def report(self, name: str) -> str:
        """A link to a file of the reports."""
        return self.link(f"{self.reports.name}/{name}")

    def image(self, name: str, caption: str) -> str:
        """A picture of the reports."""
        return f"![{caption}]({self.up}{self.reports.name}/{name})"

    def figure(self, name: str, caption: str) -> str:
        """A picture of the reports' figures, by its name without the ending."""
        return self.image(f"{FIGURES}/{name}.png", caption)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Scores of both published networks, by variant."""
        found: dict[str, Any] = files.read_json(self.reports / "metrics.json")
        return found

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Label and predictions of each test image."""
        return files.read_csv(self.reports / "predictions.csv")

    @cached_property
    def swept(self) -> list[Width]:
        """What the sweeps measured, ours and the baseline's."""
        return comparison.swept(self.reports)

    @cached_property
    def networks(self) -> list[Network]:
        """The networks of this commit's sweep on the data set, with their costs."""
        return costs.networks(self.swept, self.data, self.topologies, costs.read(self.reports))


def table(heads: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are aligned to the left, the others to the right."""
    dashes = ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, dashes, *rows])
