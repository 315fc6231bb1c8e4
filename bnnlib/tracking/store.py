"""Where MLflow keeps the runs: a server, or a database, by default the one at the root of the repository."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from bnnlib.core.errors import BnnError

SQLITE = "sqlite:///"
SERVERS = ("http://", "https://", "databricks")
ARTIFACTS = "mlartifacts"  # the folder beside the database
BUSY_TIMEOUT_S = 60  # how long we wait while another process writes to mlflow.db (MLflow itself waits for 20)
LONGEST = 400  # characters of an error shown
# MLflow reads these; a user's own setting wins. Without them a server that is down is retried for minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


PASSWORD = re.compile(r"(://[^/\s:@]*):(\S*)@")  # in an address, behind the user's name


class StoreError(BnnError):
    """The store cannot be used as it is; the message says what to do."""


@dataclass(frozen=True)
class Store:
    """Where runs go: MLflow's tracking URI; for a database also where artifacts go; for SQLite the file."""

    uri: str
    artifacts: str | None
    database: Path | None

    @property
    def is_server(self) -> bool:
        """Whether runs go to an MLflow server, which has pages of its own."""
        return self.uri.startswith(SERVERS)

    def __str__(self) -> str:
        return redacted(self.uri)


def find_store(environ: Mapping[str, str], start: Path) -> Store:
    """The server or database in MLFLOW_TRACKING_URI, else mlflow.db at the repository's root.

    DVC runs experiments in throw-away clones, so the root is DVC_ROOT where it is set, and relative SQLite addresses
    and the artifacts of other databases are taken from there.
    """
    root = repository_root(environ, start)
    uri = environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(SERVERS):
        return Store(uri, artifacts=None, database=None)
    if not uri.startswith(SQLITE):
        return Store(uri, artifacts=(root / ARTIFACTS).as_uri(), database=None)
    name, _, options = uri.removeprefix(SQLITE).partition("?")
    path = root / name  # an absolute path replaces the root
    options = options or f"timeout={BUSY_TIMEOUT_S}"
    return Store(f"{SQLITE}{path}?{options}", artifacts=(path.parent / ARTIFACTS).as_uri(), database=path)


def repository_root(environ: Mapping[str, str], start: Path) -> Path:
    """DVC_ROOT, else the nearest folder from ``start`` upwards that holds a dvc.yaml, else ``start``."""
    if environ.get("DVC_ROOT"):
        return Path(environ["DVC_ROOT"]).resolve()
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "dvc.yaml").is_file()), start)


def shown(error: Exception) -> str:
    """The reason of an error in a line, without passwords."""
    return redacted(" ".join(str(error).split()) or type(error).__name__)[:LONGEST]


def redacted(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text without passwords: `://user:***@`, also where MLflow's own message repeats one."""
    text = PASSWORD.sub(r"\1:***@", text)
    text = re.sub(r"(?i)(password|passwd|pwd|token)(=|%3D)[^&;%\s]+", r"\1\2***", text)
    for secret in _secrets(os.environ if environ is None else environ):
        text = text.replace(secret, "***")
    return text


def _secrets(environ: Mapping[str, str]) -> set[str]:
    """Passwords and tokens that MLflow reads, as they are and as an address spells them."""
    found = [environ.get(name, "") for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")]
    match = PASSWORD.search(environ.get("MLFLOW_TRACKING_URI", ""))
    found.append(unquote(match.group(2)) if match else "")
    return {spelled for secret in found if secret for spelled in (secret, quote(secret, safe=""), quote(secret))}


def set_defaults() -> None:
    """Put our defaults for MLflow into the environment, except where the user has set a value."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
