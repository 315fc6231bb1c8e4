"""What the runs of one pipeline run share: the parent run, and tags that say what was run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from bnnlib.core import files

PIPELINE_TAG = "pipeline"


def parent_run(experiment: str) -> str | None:
    """The run that groups the stages of this pipeline run; its first stage creates it. None outside DVC."""
    import mlflow

    key = pipeline_key()
    if key is None:
        return None
    client = mlflow.MlflowClient()
    found = client.search_runs([experiment], f"tags.{PIPELINE_TAG} = '{key}' and tags.dvc_stage = '{PIPELINE_TAG}'")
    if found:
        return str(found[0].info.run_id)
    tags = {**tags_of(PIPELINE_TAG, []), PIPELINE_TAG: key}
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


def tags_of(stage: str, data: Sequence[Path]) -> dict[str, str]:
    """The tags of a run: what ran, on which commit and experiment, and the hashes of the data files."""
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
