"""How the pages of MLflow show the study: saved views, which MLflow keeps as tags of the experiment.

Without them the list of runs has no column of scores. A view is the text that the pages write for "Save as new view";
its fields are those of MLflow 3.17, and those left out get the defaults of the pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

from bnnlib.core import fingerprint

NOTE = """\
Each row is one `dvc repro`, `dvc exp run` or `bnn sweep`; *changed* says how its parameters differ.

The menu *Views* has *Results*, the scores, and *Curves*, the charts: choose it, then click the chart symbol left of \
the search box. `bnn ui` prints the address of both, and `docs/mlflow.md` explains them."""

TOP_LEVEL = "tags.`mlflow.parentRunId` IS NULL"  # without the runs of stages and of a sweep's trainings
# Columns of the list, with their widths in pixels.
COLUMNS = {
    "tags.`changed`": 210,
    "params.`model.bits`": 90,
    "metrics.`binary.test.macro_f1`": 160,
    "metrics.`full.test.macro_f1`": 140,
    "metrics.`sweep.best.test.macro_f1`": 195,
    "metrics.`binary.packed_bytes`": 160,
    "metrics.`binary.test.loss`": 130,
    "metrics.`full.test.loss`": 110,
    "metrics.`binary.validation.macro_f1`": 195,
    "metrics.`full.validation.macro_f1`": 170,
}
# Sections of the page of charts, with the number of charts side by side.
SECTIONS = {"validation": 2, "test": 3, "parameters that differ": 1, "training": 2}
REST = "Model metrics"  # MLflow's own name of the section where it puts charts of all other metrics
NETWORKS = ("binary", "full")
VERSION_TAG = "bnn_views"
SAVED_AT_MS = 1_767_225_600_000  # the same on every machine; the menu puts the newest view first


@dataclass(frozen=True)
class View:
    """A saved view: the key in its address, its name in the menu, and the page that it opens on."""

    key: str
    name: str
    page: Literal["TABLE", "CHART"]
    saved_at_ms: int


RESULTS = View("bnn-results", "Results", "TABLE", SAVED_AT_MS + 1)
CURVES = View("bnn-curves", "Curves", "CHART", SAVED_AT_MS)


def tags() -> dict[str, str]:
    """The tags of the experiment: its kind, its description, the saved views, and a digest of these."""
    saved = {f"mlflow.sharedViewState.{view.key}": _saved(view) for view in (RESULTS, CURVES)}
    found = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": NOTE, **saved}
    return {**found, VERSION_TAG: fingerprint.of(found)}


def address(base: str, experiment_id: str, view: View) -> str:
    """The address of a view on the MLflow server at ``base``."""
    query = {"viewStateShareKey": view.key, "compareRunsMode": view.page, "workflowType": "machine_learning"}
    return f"{base.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs?{urlencode(query)}"


def _saved(view: View) -> str:
    """A view as its tag holds it: JSON with the state of the pages as JSON text."""
    state = json.dumps(_state(), separators=(",", ":"))
    return json.dumps({"name": view.name, "createdAt": view.saved_at_ms, "updatedAt": view.saved_at_ms, "state": state})


def _state() -> dict[str, Any]:
    """What the pages show: the newest top-level runs first, our columns and our charts.

    Both views have all of it, because a button leads from the list to the charts and back.
    """
    sections = [*(_section(name, columns) for name, columns in SECTIONS.items()), _section(REST, 3, unfolded=False)]
    return {
        "searchFilter": TOP_LEVEL,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "runsHiddenMode": "FIRST_20_RUNS",
        "isAccordionReordered": True,  # keeps the order of the sections
        "compareRunSections": sections,
        "compareRunCharts": list(_charts()),
    }


def _section(name: str, columns: int, *, unfolded: bool = True) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": unfolded, "isReordered": True, "columns": columns, "cardHeight": 340}


def _charts() -> Iterator[dict[str, Any]]:
    for section, part in (("validation", "validation"), ("training", "train")):
        for network in NETWORKS:
            yield _line(section, f"{network}.{part}_macro_f1", "linear")
            yield _line(section, f"{network}.{part}_loss", "log")
    for network in NETWORKS:
        yield _chart("BAR", "test", f"{network}.test.macro_f1")
    yield _chart("SCATTER", "test", "size and score") | {
        "xaxis": {"key": "binary.weight_bytes", "type": "METRIC"},
        "yaxis": {"key": "binary.test.macro_f1", "type": "METRIC"},
    }
    yield _chart("DIFFERENCE", "parameters that differ", "parameters") | {
        "chartName": "Parameters that differ",
        "compareGroups": ["Parameters"],
        "showChangeFromBaseline": False,
        "showDifferencesOnly": True,
    }


def _line(section: str, metric: str, scale: str) -> dict[str, Any]:
    """A line for each run, over the epoch."""
    return _chart("LINE", section, metric) | {
        "scaleType": scale,
        "xAxisKey": "step",
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _chart(kind: str, section: str, metric: str) -> dict[str, Any]:
    return {"type": kind, "uuid": metric, "metricSectionId": section, "metricKey": metric}
