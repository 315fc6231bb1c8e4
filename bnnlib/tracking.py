"""The logbook: each stage is an MLflow run, and the runs of one pipeline run share a parent.

Nothing in `reports/` comes from here, and a logbook that fails costs a warning, never a result.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import numpy as np
import psutil
from filelock import FileLock
from numpy.typing import NDArray

from bnnlib.core import files
from bnnlib.core.files import FileError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from bnnlib.data.splits import Split

P = ParamSpec("P")
EXPERIMENT = "bnn"
# Imported by MLflow alone: an import here would make the packed engines a dependency of every stage.
SERVED_MODULE = "bnnlib.serving.pyfunc"
SERVED_REQUIREMENTS = ("mlflow", "numba", "numpy", "pandas")  # without numba it predicts as well, but more slowly
PIPELINE_TAG = "pipeline"
SQLITE = "sqlite:///"
BUSY_TIMEOUT_S = 60  # how long a writer waits while another one writes to mlflow.db
# MLflow reads these; a user's own setting wins. A server that is down would otherwise be asked for minutes.
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
    """Put our defaults of MLflow's settings into the environment, where a user has not chosen."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextmanager
def open_run(stage: str, params: Mapping[str, Any], data: Sequence[Path]) -> Iterator[RunLog]:
    """Open the run of one stage. ``data``: the files whose hashes tell which data it saw."""
    set_defaults()
    run = RunLog(find_store(os.environ, Path.cwd()))
    run.start(stage, params, data)
    try:
        yield run
    except BaseException:
        run.finish("FAILED")
        raise
    run.finish("FINISHED")


def logged(method: Callable[Concatenate[RunLog, P], None]) -> Callable[Concatenate[RunLog, P], None]:
    """Let a fault of the store, or of the way to it, end the logging with one warning."""

    @functools.wraps(method)
    def guarded(self: RunLog, *args: P.args, **kwargs: P.kwargs) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if not self.alive:
            return
        try:
            method(self, *args, **kwargs)
        except FileError:
            raise  # the stage's own data, not the store
        except (MlflowException, SQLAlchemyError, OSError, ImportError, NotImplementedError) as error:
            self.alive = False
            reason = " ".join(str(error).split())[:300]
            print(
                f"warning: MLflow at {self.store.uri} cannot be used, so this stage goes on without a logbook "
                f"({reason}). Its results do not depend on it. Check the store, or MLFLOW_TRACKING_URI.",
                file=sys.stderr,
            )

    return cast("Callable[Concatenate[RunLog, P], None]", guarded)


class RunLog:
    """One MLflow run. Passes calls on until one fails; then it warns once and logs no more."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.alive = True
        self._parent: str | None = None

    @logged
    def start(self, stage: str, params: Mapping[str, Any], data: Sequence[Path]) -> None:
        """Begin the run, under the parent that this pipeline run shares."""
        import mlflow

        tags = _tags(stage, data)
        experiment = ready(self.store)
        self._parent = _parent_run(experiment)
        mlflow.start_run(experiment_id=experiment, run_name=stage, parent_run_id=self._parent, tags=tags)
        mlflow.log_params(dict(params))

    @logged
    def finish(self, status: str) -> None:
        """End the run, and its parent with it until the next stage."""
        import mlflow

        mlflow.end_run(status)
        if self._parent is not None:
            mlflow.MlflowClient().set_terminated(self._parent, status)

    @logged
    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        """Log numbers, at an epoch where ``step`` is given; None is left out."""
        import mlflow

        mlflow.log_metrics({name: value for name, value in metrics.items() if value is not None}, step=step)

    @logged
    def log_artifact(self, path: Path) -> None:
        """Log a file, or a folder with all in it."""
        import mlflow

        if path.is_dir():
            mlflow.log_artifacts(str(path), path.name)
        else:
            mlflow.log_artifact(str(path))

    @logged
    def log_dataset(self, path: Path, split: Split, context: str) -> None:
        """Log that the run used a data set, as "train", "validation" or "test"."""
        import mlflow
        from mlflow.data.numpy_dataset import from_numpy

        digest = files.sha256(path)[:32]
        with warnings.catch_warnings():
            # MLflow registers its source for local files twice, then warns that it cannot choose.
            warnings.filterwarnings(
                "ignore", message="The specified dataset source can be interpreted in multiple ways"
            )
            dataset = from_numpy(split.images, targets=split.labels, source=str(path), name=path.stem, digest=digest)
        mlflow.log_input(dataset, context=context)

    @logged
    def log_model(self, name: str, model: torch.nn.Module, example: NDArray[np.uint8]) -> None:
        """Log and register a network with an example of its input, uint8 (n, 28, 28).

        Its alias is the experiment's name, or "champion" outside experiments.
        """
        import mlflow
        import torch

        with torch.inference_mode():
            output = model(torch.from_numpy(example)).numpy()
        info = mlflow.pytorch.log_model(
            model,
            name="model",
            registered_model_name=name,
            signature=mlflow.models.infer_signature(example, output),
            input_example=example,
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"],
        )
        _set_alias(name, info.registered_model_version)

    @logged
    def log_packed_model(self, name: str, packed: Path, example: NDArray[Any], output: pd.DataFrame) -> None:
        """Log and register a packed file as a pyfunc model (`bnnlib.served` loads it), under the alias of `log_model`.

        ``example``: images, objects (n, 28, 28) as `bnnlib.served` takes them; ``output``: what the served model
        predicts for them. The model holds the package's source and the file's bytes, and no pickle.
        """
        import mlflow

        with warnings.catch_warnings():
            # The digits that the model puts out are whole numbers; none is ever missing, of which MLflow warns.
            warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
            signature = mlflow.models.infer_signature(example, output)
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=SERVED_MODULE,
            data_path=str(packed),
            code_paths=[str(Path(__file__).parent)],
            registered_model_name=name,
            signature=signature,
            input_example=example,
            pip_requirements=_installed(SERVED_REQUIREMENTS),
        )
        _set_alias(name, info.registered_model_version)


def _set_alias(name: str, version: str) -> None:
    """Name a registered version after the experiment, or "champion" outside experiments."""
    import mlflow

    alias = re.sub(r"[^A-Za-z0-9_-]", "-", os.environ.get("DVC_EXP_NAME") or "champion")
    mlflow.MlflowClient().set_registered_model_alias(name, alias, version)


def _installed(packages: Sequence[str]) -> list[str]:
    """Exact requirements of packages in the versions installed here; one that is not installed is left out."""
    return [f"{name}=={metadata.version(name)}" for name in packages if importlib.util.find_spec(name)]


def ready(store: Store) -> str:
    """Point MLflow at the store and return the experiment's id; what is missing is made.

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


def _parent_run(experiment: str) -> str | None:
    """The run that groups the stages of this pipeline run; made by its first stage. None outside DVC."""
    import mlflow

    key = pipeline_key()
    if key is None:
        return None
    client = mlflow.MlflowClient()
    found = client.search_runs([experiment], f"tags.{PIPELINE_TAG} = '{key}' and tags.dvc_stage = '{PIPELINE_TAG}'")
    if found:
        return str(found[0].info.run_id)
    tags = {**_tags(PIPELINE_TAG, []), PIPELINE_TAG: key}
    name = os.environ.get("DVC_EXP_NAME") or f"repro {tags['git_revision'][:7]}"
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def pipeline_key() -> str | None:
    """What all stages of one `dvc repro` or of one experiment share: the DVC process above them."""
    for process in psutil.Process().parents():
        try:
            words = [Path(word).name for word in process.cmdline()[:4]]
        except psutil.Error:
            continue
        if "dvc" in words or "dvc.exe" in words:
            return f"{process.pid}-{process.create_time():.2f}"
    return None


def _tags(stage: str, data: Sequence[Path]) -> dict[str, str]:
    return {
        "dvc_stage": stage,
        "dvc_experiment": os.environ.get("DVC_EXP_NAME") or "workspace",
        "git_revision": _git_revision(),
        "data_sha256": " ".join(f"{path.name}:{files.sha256(path)}" for path in data),
    }


def _git_revision() -> str:
    """The commit checked out; in a DVC experiment the one that it started from."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
