"""Where MLflow keeps the runs: a server, or the database at the root of the repository."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

EXPERIMENT = "bnn"
SQLITE = "sqlite:///"
BUSY_TIMEOUT_S = 60  # how long a writer waits while another one writes to mlflow.db
# MLflow reads these; a user's own setting wins. Without them a server that is down is retried for minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Store:
    """Where runs go: MLflow's tracking URI; for the local store also where artifacts go, and the lock of its set-up."""

    uri: str
    artifacts: str | None
    lock: Path | None


def find_store(environ: Mapping[str, str], start: Path) -> Store:
    """The server or database in MLFLOW_TRACKING_URI, else mlflow.db at the repository's root.

    DVC runs experiments in throw-away clones, so the root is DVC_ROOT where it is set, and relative SQLite addresses
    are taken from there.
    """
    root = repository_root(environ, start)
    uri = environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        return Store(uri, artifacts=None, lock=None)
    database, _, options = uri.removeprefix(SQLITE).partition("?")
    path = root / database  # an absolute path replaces the root
    options = options or f"timeout={BUSY_TIMEOUT_S}"
    return Store(
        uri=f"{SQLITE}{path}?{options}",
        artifacts=(path.parent / "mlartifacts").as_uri(),
        lock=path.with_name(f"{path.name}.lock"),
    )


def repository_root(environ: Mapping[str, str], start: Path) -> Path:
    """DVC_ROOT, else the nearest folder from ``start`` upwards that holds a dvc.yaml, else ``start``."""
    if environ.get("DVC_ROOT"):
        return Path(environ["DVC_ROOT"]).resolve()
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "dvc.yaml").is_file()), start)


def set_defaults() -> None:
    """Put our defaults for MLflow into the environment, except where the user has set a value."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


def ready(store: Store) -> str:
    """Point MLflow at the store and return the experiment's id; creates what is missing.

    One process at a time: two that set up one fresh database disturb each other.
    """
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it misses pip where uv installed
    mlflow.set_tracking_uri(store.uri)
    if store.lock is None:
        return _experiment_id(mlflow.MlflowClient(), store)
    with FileLock(store.lock):
        return _experiment_id(mlflow.MlflowClient(), store)


def _experiment_id(client: Any, store: Store) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=store.artifacts))
