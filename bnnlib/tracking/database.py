"""The SQLite file of the runs: set up whole or not at all, checked before MLflow opens it, moved with its folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

from bnnlib.tracking.store import ARTIFACTS, BUSY_TIMEOUT_S, SQLITE, StoreError

# Where MLflow writes down absolute addresses of artifacts: table, column.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare(path: Path, experiment: str, artifacts: str) -> None:
    """Make the database of ``experiment`` usable where it is now; creates it where it is missing.

    ``artifacts``: the address of its folder of artifacts. One process at a time, because two that set up one fresh
    database disturb each other. `StoreError` says what is wrong with a database that cannot be used.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        with FileLock(lock, timeout=BUSY_TIMEOUT_S):
            if _is_unfinished(path):
                _set_up(path)
            _follow(path, experiment, artifacts)
    except Timeout as error:
        raise StoreError(
            f"{lock} has been held by another process for {BUSY_TIMEOUT_S} s; end that process, or delete the file"
        ) from error


def _is_unfinished(path: Path) -> bool:
    """Whether there is no database, or one whose set-up was killed before it held a run."""
    if not path.exists() or path.stat().st_size == 0:
        return True
    try:
        with closing(_open(path)) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
            if tables and not {"experiments", "runs"} <= tables:
                raise StoreError(f"{path}: a database of another program; name another file in MLFLOW_TRACKING_URI")
            if not tables or not _any(database, "select 1 from experiments"):  # MLflow's set-up ends with its `Default`
                return not tables or not _any(database, "select 1 from runs")
            _refuse_newer(path, [version for (version,) in database.execute("select version_num from alembic_version")])
            return False
    except sqlite3.OperationalError:
        raise  # locked, or not to be opened now
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: {error}; restore it, or move it away: a new one is made then") from error


def _any(database: sqlite3.Connection, query: str) -> bool:
    return database.execute(query).fetchone() is not None


def _refuse_newer(path: Path, versions: list[str]) -> None:
    """`StoreError` where the installed MLflow does not know the version of the database."""
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    try:
        for version in versions:
            migrations.get_revision(version)
    except CommandError as error:
        raise StoreError(
            f"{path}: made by a newer MLflow (schema {', '.join(versions)}) than the installed {mlflow.__version__}; "
            "install that one, or move the file away: a new one is made then"
        ) from error


def _set_up(path: Path) -> None:
    """Let MLflow create its tables in a file of another name, and rename it when it is complete.

    A file that is there already, whose set-up was killed, is kept beside it.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    _remove(temporary)
    try:
        store = SqlAlchemyStore(f"{SQLITE}{temporary}", (path.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
    except BaseException:
        _remove(temporary)
        raise
    if path.exists() and path.stat().st_size:
        path.replace(path.with_name(f"{path.name}.unfinished"))
    temporary.replace(path)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)


def _follow(path: Path, experiment: str, artifacts: str) -> None:
    """After the folder was moved or copied, let the addresses in the database point to where it is now."""
    with closing(_open(path)) as database, database:
        query = "select artifact_location from experiments where name = ?"
        old = next((location for (location,) in database.execute(query, [experiment])), None)
        if old is None or old == artifacts or not old.startswith("file:") or not old.endswith(f"/{ARTIFACTS}"):
            return
        for table, column in ADDRESSES:
            moved = f"{column} = ? || substr({column}, ?) where {column} = ? or substr({column}, 1, ?) = ?"
            values = [artifacts, len(old) + 1, old, len(old) + 1, f"{old}/"]
            database.execute(f"update {table} set {moved}", values)  # noqa: S608 the names are our own


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
