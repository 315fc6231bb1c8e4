"""The saved views of MLflow's pages, and the addresses and options that `bnn ui` makes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.clone import Clone
from support.paths import ROOT

from bnnlib.commands import ui
from bnnlib.core import files
from bnnlib.report import logged
from bnnlib.sweeps import logbook
from bnnlib.tracking import views
from bnnlib.tracking.run import CURVES

REPORTS = ROOT / "reports"
VIEWS = [views.RESULTS, views.CURVES]
OLD_LIMIT = 5_000  # characters of a tag of an experiment on older servers
KINDS = {"BAR", "LINE", "SCATTER", "DIFFERENCE"}  # of charts, in MLflow's pages


def state(view: views.View) -> dict[str, Any]:
    """What a tag makes of the pages."""
    saved = json.loads(views.tags()[f"mlflow.sharedViewState.{view.key}"])
    assert saved["name"] == view.name
    found = json.loads(saved["state"])
    assert isinstance(found, dict)
    return found


def test_tags_are_text_that_every_server_takes() -> None:
    tags = views.tags()
    assert set(tags) == {
        "mlflow.experimentKind",
        "mlflow.note.content",
        views.VERSION_TAG,
        *(f"mlflow.sharedViewState.{view.key}" for view in VIEWS),
    }
    assert {name: len(text) for name, text in tags.items() if not 0 < len(text) < OLD_LIMIT} == {}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_columns_are_named_as_the_pages_name_them(view: views.View) -> None:
    found = state(view)
    columns = found["selectedColumns"]
    assert columns[0] == "tags.`changed`"
    assert [column for column in columns if not re.fullmatch(r"(tags|params|metrics)\.`[a-z_0-9.]+`", column)] == []
    assert found["columnOrder"] == columns == list(found["columnWidths"])


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_chart_is_in_a_section_and_every_section_has_one(view: views.View) -> None:
    found = state(view)
    charts, sections = found["compareRunCharts"], found["compareRunSections"]
    assert {chart["type"] for chart in charts} == KINDS
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert {chart["metricSectionId"] for chart in charts} == {section["uuid"] for section in sections} - {views.REST}
    assert [section["name"] for section in sections if not section["display"]] == [views.REST]


def test_charts_and_columns_show_metrics_that_are_logged() -> None:
    scores = logged.scores(files.read_json(REPORTS / "metrics.json"), files.read_json(REPORTS / "sizes.json"))
    curves = {f"{network}.{curve}" for network in views.NETWORKS for curve in CURVES}
    best = {f"sweep.best.{metric}" for metric in logbook.SCORES.values()}
    columns = {column.partition("`")[2].rstrip("`") for column in views.COLUMNS if column.startswith("metrics.")}
    charts = {metric for chart in state(views.CURVES)["compareRunCharts"] for metric in metrics_of(chart)}
    assert (columns | charts) - {*scores} - curves - best == set()
    assert curves <= charts


def metrics_of(chart: dict[str, Any]) -> list[str]:
    if chart["type"] == "SCATTER":
        return [chart[axis]["key"] for axis in ("xaxis", "yaxis")]
    return [] if chart["type"] == "DIFFERENCE" else [chart["metricKey"]]


@pytest.mark.parametrize("base", ["http://box:5000", "http://box:5000/", "https://box/mlflow"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_an_address_names_the_view_and_its_page(base: str, view: views.View) -> None:
    address = views.address(base, "12", view)
    assert address.startswith(f"{base.rstrip('/')}/#/experiments/12/runs?")
    query = parse_qs(urlsplit(address).fragment.partition("?")[2])
    assert query == {
        "viewStateShareKey": [view.key],
        "compareRunsMode": [view.page],
        "workflowType": ["machine_learning"],
    }


@pytest.mark.parametrize(
    ("host", "address", "here_only"),
    [
        ("127.0.0.1", "http://127.0.0.1:7", True),
        ("127.5.0.1", "http://127.5.0.1:7", True),
        ("localhost", "http://localhost:7", True),
        ("::1", "http://[::1]:7", True),
        ("0.0.0.0", "http://localhost:7", False),  # noqa: S104
        ("::", "http://localhost:7", False),
        ("192.168.0.5", "http://192.168.0.5:7", False),
        ("box", "http://box:7", False),
    ],
)
def test_where_the_pages_are_served(host: str, address: str, here_only: bool) -> None:
    assert ui.served_at(host, 7) == address
    assert ui.is_loopback(host) is here_only


@pytest.mark.parametrize(
    ("host", "names", "given"),
    [("127.0.0.1", None, False), ("0.0.0.0", "box", False), ("0.0.0.0", None, True), ("192.168.0.5", None, True)],  # noqa: S104
)
def test_where_others_would_be_refused_the_option_is_named(host: str, names: str | None, given: bool) -> None:
    said = " ".join(ui.advice(host, names))
    assert all((word in said) is given for word in (host, "403", "--allowed-hosts"))


def test_names_are_allowed_as_hosts_and_as_origins_of_requests() -> None:
    _, hosts, _, origins = ui.security("box, other:80", 7)
    here = {f"{name}{port}" for name in ("localhost", "127.0.0.1", "[::1]") for port in ("", ":7")}
    assert set(hosts.split(",")) == {"box", "box:7", "other:80"} | here
    assert set(origins.split(",")) == {
        f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts.split(",")
    }


def test_without_names_mlflow_keeps_its_own_rules() -> None:
    assert ui.security(None, 7) == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:a@b@box:5000/mlflow", "https://box:5000/mlflow"),
        ("http://token@box", "http://box"),
        ("http://box:5000", "http://box:5000"),
    ],
)
def test_the_address_of_a_server_has_no_user(uri: str, shown: str) -> None:
    assert ui.without_user(uri) == shown


def test_a_store_that_cannot_be_used_is_named_without_its_password(make_clone: Callable[[str], Clone]) -> None:
    uri = "http://user:secret@127.0.0.1:9"
    done = make_clone("ui").run("python", "-m", "bnnlib", "ui", check=False, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: MLflow at ")
    assert f"{uri.replace('secret', '***')} cannot be used" in done.stderr
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert "secret" not in done.stderr


def test_the_page_of_the_documentation_explains_every_column() -> None:
    page = (ROOT / "docs/mlflow.md").read_text(encoding="utf-8")
    names = [column.partition("`")[2].rstrip("`") for column in views.COLUMNS]
    assert [name for name in names if name.rpartition(".")[2] not in page] == []
