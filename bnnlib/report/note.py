"""The description of a pipeline run in MLflow: its result on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from bnnlib.report.parts.source import table

FIGURES = ("loss", "macro_f1", "confusion_full", "confusion_binary")
HEADS = [
    "network",
    "bits",
    "epoch",
    "test macro-F1",
    "test loss",
    "validation macro-F1",
    "weight bytes",
    "packed bytes",
]


def of_results(metrics: Mapping[str, Any], sizes: Mapping[str, Any]) -> Callable[[str], str]:
    """Markdown from the contents of metrics.json and sizes.json; takes the id of the run that holds the figures."""
    rows = [
        [
            variant,
            f"{result['bits']}",
            f"{result['epoch']}",
            f"{result['test']['macro_f1']:.4f}",
            f"{result['test']['loss']:.4f}",
            f"{result['validation']['macro_f1']:.4f}",
            f"{sizes[variant]['weight_bytes']:,}",
            "" if sizes[variant]["packed_bytes"] is None else f"{sizes[variant]['packed_bytes']:,}",
        ]
        for variant, result in metrics.items()
    ]
    return lambda run_id: "\n\n".join([table(HEADS, rows), *(_figure(run_id, name) for name in FIGURES)])


def _figure(run_id: str, name: str) -> str:
    """A picture among the run's artifacts, by the address that MLflow's own pages use."""
    return f"![{name}](get-artifact?path={quote(f'figures/{name}.png', safe='')}&run_uuid={run_id})"
