"""The experiment of all runs: created where it is missing, with its saved views."""

from __future__ import annotations

import logging
from typing import Any

from bnnlib.tracking import database, views
from bnnlib.tracking.store import Store, StoreError

EXPERIMENT = "bnn"
QUIET = {
    "mlflow": logging.WARNING,
    "alembic": logging.WARNING,
    "mlflow.store": logging.CRITICAL,  # what it tells of comes back as an exception
    "mlflow.system_metrics": logging.ERROR,  # a machine without a GPU
    "mlflow.utils.environment": logging.ERROR,  # it misses pip where uv installed
}


def ready(store: Store) -> str:
    """Point MLflow at the store and return the experiment's id; creates what is missing.

    `StoreError` where the database or the experiment cannot be used; other errors are MLflow's.
    """
    import mlflow

    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    if store.database is not None:
        database.prepare(store.database, EXPERIMENT, str(store.artifacts))
    elif not store.is_server:
        _connect(store.uri)
    mlflow.set_tracking_uri(store.uri)
    return _experiment_id(mlflow.MlflowClient(), store)


def _connect(uri: str) -> None:
    """Raise at once where a database does not answer: MLflow would try for minutes."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _experiment_id(client: Any, store: Store) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=store.artifacts, tags=views.tags()))
        except MlflowException:  # another process was quicker, or it is an error that comes again
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise StoreError(
            f"the experiment {EXPERIMENT} is deleted; `mlflow experiments restore --experiment-id "
            f"{found.experiment_id}` brings it back, `mlflow gc --experiment-ids {found.experiment_id}` removes it"
        )
    tags = views.tags()
    if found.tags.get(views.VERSION_TAG) != tags[views.VERSION_TAG]:  # else they are the user's own by now
        for name, value in tags.items():
            client.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)
