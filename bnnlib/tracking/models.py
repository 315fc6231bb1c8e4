"""Networks in MLflow's registry: each training registers a version; the last stage says which one is the champion."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bnnlib.core import files
from bnnlib.tracking import pipeline
from bnnlib.tracking.run import RunLog

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from mlflow.entities.model_registry import ModelVersion

# Only MLflow imports it: an import here would make the packed engines a dependency of every stage.
SERVED_MODULE = "bnnlib.serving.pyfunc"
SERVED_REQUIREMENTS = ("mlflow", "numba", "numpy", "pandas")  # without numba it predicts as well, but more slowly
LONGEST = 5000  # characters of a description
CANDIDATE, CHAMPION = "candidate", "champion"
FILE_TAG = "file_sha256"  # of the file in models/, by which the last stage finds its version


def register_network(
    log: RunLog, name: str, model: torch.nn.Module, file: Path, example: NDArray[np.uint8], scores: Mapping[str, float]
) -> None:
    """Log and register a network, which is in ``file``, with an example of its input, uint8 (n, 28, 28)."""
    import torch

    with torch.inference_mode():
        output = model(torch.from_numpy(example)).numpy()
    requirements = [f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"]
    tags = {FILE_TAG: files.sha256(file), "file_bytes": file.stat().st_size, **scores}

    def register() -> str:
        import mlflow

        info = mlflow.pytorch.log_model(
            model,
            name=name,
            registered_model_name=name,
            signature=mlflow.models.infer_signature(example, output),
            input_example=example,
            pip_requirements=requirements,
            run_id=log.run_id,
        )
        return str(info.registered_model_version)

    _register(log, name, register, tags)


def register_packed(log: RunLog, name: str, packed: Path, example: NDArray[Any], output: pd.DataFrame) -> None:
    """Log and register a packed file as a pyfunc model, which `serving.pyfunc` loads.

    ``example``: images as objects (n, 28, 28), as `serving.pyfunc` takes them; ``output``: what the served model
    predicts for them. The model holds the package's source and the file's bytes, and no pickle.
    """
    tags = {FILE_TAG: files.sha256(packed), "packed_bytes": packed.stat().st_size}

    def register() -> str:
        import mlflow

        with warnings.catch_warnings():
            # MLflow warns that integers may be missing; the digits that the model puts out never are.
            warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
            signature = mlflow.models.infer_signature(example, output)
        info = mlflow.models.Model.log(  # `mlflow.pyfunc.log_model` takes no run
            None,
            mlflow.pyfunc,
            name=name,
            loader_module=SERVED_MODULE,
            data_path=str(packed),
            code_paths=[str(Path(__file__).parents[1])],
            registered_model_name=name,
            signature=signature,
            input_example=example,
            pip_requirements=_installed(SERVED_REQUIREMENTS),
            run_id=log.run_id,
        )
        return str(info.registered_model_version)

    _register(log, name, register, tags)


def describe(
    log: RunLog, networks: Mapping[str, Path], scores: Mapping[str, Mapping[str, Any]], card: str, passed: bool
) -> None:
    """Give the versions of these files their scores and the model card; the champion's alias if the bounds are met.

    ``networks``: name in the registry -> file; ``scores``: name -> what to tag it with. A file that was never
    registered here, because its network was trained elsewhere, is skipped. Experiments leave the champion as it is.
    """
    digests = {name: files.sha256(path) for name, path in networks.items()}
    crowned = passed and pipeline.experiment_name() is None

    def update() -> None:
        for name, digest in digests.items():
            version = _newest(log, name, digest)
            if version is None:
                continue
            _set_tags(log, name, version.version, scores[name])
            text = ", ".join(f"{key} {_shown(value)}" for key, value in scores[name].items() if value is not None)
            log.client.update_model_version(name, version.version, description=_description(text, card))
            if crowned:
                log.client.set_registered_model_alias(name, CHAMPION, version.version)

    log.call(update)


def _description(text: str, card: str) -> str:
    """Scores and card, within what MLflow's databases take."""
    found = f"{text}\n\n{card}"
    if len(found) <= LONGEST:
        return found
    end = "...\n\nThe whole card is in models/README.md."
    return f"{found[: LONGEST - len(end)]}{end}"


def alias(experiment: str | None) -> str:
    """The alias of the newest version of an experiment; `CANDIDATE` outside experiments.

    MLflow takes letters, digits, `_` and `-`, and keeps `latest`, `v1` and the like for itself: a name that is
    changed, or that we use ourselves, gets a digest, so that two experiments never share an alias.
    """
    if experiment is None:
        return CANDIDATE
    allowed = re.sub(r"[^A-Za-z0-9_-]", "-", experiment)
    reserved = re.fullmatch(rf"v\d+|latest|{CANDIDATE}|{CHAMPION}", allowed, re.IGNORECASE)
    if allowed == experiment and not reserved:
        return experiment
    return f"{allowed}-{hashlib.sha256(experiment.encode()).hexdigest()[:6]}"


def _register(log: RunLog, name: str, register: Callable[[], str], tags: Mapping[str, Any]) -> None:
    """Register a version, then tag it: two calls, so that an error in the second one does not register it again."""
    versions: list[str] = []
    log.call(lambda: versions.append(register()))
    log.call(lambda: _tag(log, name, versions[0], tags))


def _tag(log: RunLog, name: str, version: str, tags: Mapping[str, Any]) -> None:
    run = log.client.get_run(log.run_id)
    kept = {key: value for key, value in run.data.tags.items() if key in ("git_revision", "data_sha256")}
    _set_tags(log, name, version, {**tags, **kept})
    log.client.set_registered_model_alias(name, alias(pipeline.experiment_name()), version)


def _set_tags(log: RunLog, name: str, version: str, tags: Mapping[str, Any]) -> None:
    for key, value in tags.items():
        if value is None:
            continue
        log.client.set_model_version_tag(name, version, key, _shown(value))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _newest(log: RunLog, name: str, digest: str) -> ModelVersion | None:
    """The newest version of the file of this SHA-256."""
    found = log.client.search_model_versions(f"name = '{name}' and tags.{FILE_TAG} = '{digest}'", max_results=1000)
    return max(found, key=lambda version: int(version.version), default=None)


def _installed(packages: Sequence[str]) -> list[str]:
    """Exact requirements of packages in the versions installed here; one that is not installed is left out."""
    return [f"{name}=={metadata.version(name)}" for name in packages if importlib.util.find_spec(name)]
