"""Where the store is, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnlib.tracking.store import find_store, redacted

SECRET = "geh eim/1"  # noqa: S105 a password of nothing


def test_default_store_is_at_the_root_from_any_folder_below(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "a/b").mkdir(parents=True)
    found = find_store({}, tmp_path / "a/b")
    assert found.uri.startswith(f"sqlite:///{tmp_path}/mlflow.db?")
    assert found.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_dvc_root_wins_over_the_throw_away_folder(tmp_path: Path) -> None:
    (tmp_path / "throw-away").mkdir()
    (tmp_path / "throw-away/dvc.yaml").touch()
    found = find_store({"DVC_ROOT": str(tmp_path)}, tmp_path / "throw-away")
    assert found.uri.startswith(f"sqlite:///{tmp_path}/mlflow.db?")


@pytest.mark.parametrize(
    ("given", "found", "is_server"),
    [
        ("sqlite:///other.db", "sqlite:///{root}/other.db?timeout=60", False),
        ("sqlite:///deep/other.db?timeout=5", "sqlite:///{root}/deep/other.db?timeout=5", False),
        ("sqlite:////elsewhere/x.db", "sqlite:////elsewhere/x.db?timeout=60", False),
        ("postgresql://me@host/runs", "postgresql://me@host/runs", False),
        ("mysql+pymysql://host/runs", "mysql+pymysql://host/runs", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", True),
        ("https://host/mlflow", "https://host/mlflow", True),
    ],
)
def test_address_of_the_user(given: str, found: str, is_server: bool, tmp_path: Path) -> None:
    environ = {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": given}
    store = find_store(environ, tmp_path)
    assert store.uri == found.format(root=tmp_path)
    assert store.is_server == is_server
    assert (store.artifacts is None) == is_server  # a server has a folder of its own


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:pw@host:5000/x failed", "at http://me:***@host:5000/x failed"),
        ("postgresql+psycopg2://me:p@ss:w@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("http://host/a:b, mail@host", "http://host/a:b, mail@host"),
        ("http://me@host", "http://me@host"),
        ("postgresql://host/db?user=me&password=pw&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        (
            "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BPWD%3Dpw%3B",
            "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BPWD%3D***%3B",
        ),
    ],
)
def test_passwords_are_starred(text: str, shown: str) -> None:
    assert redacted(text, {}) == shown


@pytest.mark.parametrize(
    "environ",
    [
        {"MLFLOW_TRACKING_PASSWORD": SECRET},
        {"MLFLOW_TRACKING_TOKEN": SECRET},
        {"MLFLOW_TRACKING_URI": "http://me:geh%20eim%2F1@host"},
    ],
)
@pytest.mark.parametrize("spelled", [SECRET, "geh%20eim%2F1"])
def test_a_password_is_starred_wherever_it_comes_back(environ: dict[str, str], spelled: str) -> None:
    assert "geh" not in redacted(f"refused ('me', '{spelled}')", environ)
