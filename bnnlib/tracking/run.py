"""The MLflow run of a stage: parameters, scores, data sets, artifacts, models."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import numpy as np
from numpy.typing import NDArray

from bnnlib.core import files
from bnnlib.core.files import FileError
from bnnlib.tracking.pipeline import parent_run, tags_of
from bnnlib.tracking.store import Store, find_store, ready, set_defaults

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from bnnlib.data.splits import Split

P = ParamSpec("P")
# Only MLflow imports it: an import here would make the packed engines a dependency of every stage.
SERVED_MODULE = "bnnlib.serving.pyfunc"
SERVED_REQUIREMENTS = ("mlflow", "numba", "numpy", "pandas")  # without numba it predicts as well, but more slowly


@contextmanager
def open_run(stage: str, params: Mapping[str, Any], data: Sequence[Path]) -> Iterator[RunLog]:
    """Open the run of one stage. ``data``: the files whose hashes are logged."""
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
    """Let an error of the store, or of the way to it, end the logging with one warning."""

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
                f"warning: MLflow at {self.store.uri} cannot be used, so this stage runs on without it "
                f"({reason}). Its results do not depend on it. Check the store, or MLFLOW_TRACKING_URI.",
                file=sys.stderr,
            )

    return cast("Callable[Concatenate[RunLog, P], None]", guarded)


class RunLog:
    """One MLflow run. Logs until a call fails; then warns once and logs nothing more."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.alive = True
        self._parent: str | None = None

    @logged
    def start(self, stage: str, params: Mapping[str, Any], data: Sequence[Path]) -> None:
        """Begin the run, under the parent that this pipeline run shares."""
        import mlflow

        tags = tags_of(stage, data)
        experiment = ready(self.store)
        self._parent = parent_run(experiment)
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
        """Log a file, or a folder with its content."""
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
        """Log and register a packed file as a pyfunc model, which `serving.pyfunc` loads; alias as in `log_model`.

        ``example``: images as objects (n, 28, 28), as `serving.pyfunc` takes them; ``output``: what the served model
        predicts for them. The model holds the package's source and the file's bytes, and no pickle.
        """
        import mlflow

        with warnings.catch_warnings():
            # MLflow warns that integers may be missing; the digits that the model puts out never are.
            warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
            signature = mlflow.models.infer_signature(example, output)
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=SERVED_MODULE,
            data_path=str(packed),
            code_paths=[str(Path(__file__).parents[1])],
            registered_model_name=name,
            signature=signature,
            input_example=example,
            pip_requirements=_installed(SERVED_REQUIREMENTS),
        )
        _set_alias(name, info.registered_model_version)

    @logged
    def describe_models(self, names: Sequence[str], card: str) -> None:
        """Make ``card`` (Markdown) the description of the versions under the alias of `log_model`.

        A name without such a version is skipped: its network was trained elsewhere.
        """
        import mlflow

        client = mlflow.MlflowClient()
        for name in names:
            for model in client.search_registered_models(filter_string=f"name = '{name}'"):
                version = model.aliases.get(_alias())
                if version is not None:
                    client.update_model_version(name, version, description=card)


def _set_alias(name: str, version: str) -> None:
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(name, _alias(), version)


def _alias() -> str:
    """The experiment's name, or "champion" outside experiments."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", os.environ.get("DVC_EXP_NAME") or "champion")


def _installed(packages: Sequence[str]) -> list[str]:
    """Exact requirements of packages in the versions installed here; one that is not installed is left out."""
    return [f"{name}=={metadata.version(name)}" for name in packages if importlib.util.find_spec(name)]
