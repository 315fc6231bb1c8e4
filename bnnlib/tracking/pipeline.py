"""The run above the stages of one `dvc repro` or one experiment: what was asked for, and how it ended."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bnnlib.config import params
from bnnlib.config.params import Params, ParamsError
from bnnlib.core import system
from bnnlib.tracking import processes

if TYPE_CHECKING:
    import psutil
    from mlflow import MlflowClient
    from mlflow.entities import Param, Run

STAGE_TAG, PROCESS_TAG, PARENT_TAG = "dvc_stage", "process", "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
PIPELINE = "pipeline"  # the stage of the run above
# Of lines in the charts, one after the other: the palette of M. Okabe and K. Ito, for people who confuse colours, too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WORKSPACE = "workspace"  # the experiment of a plain `dvc repro`
PARAMS_YAML = "params.yaml"


class Parent(NamedTuple):
    """The run above."""

    run_id: str
    name: str


def parent_run(client: MlflowClient, experiment: str, cfg: Params) -> Parent | None:
    """The run above the stages of this pipeline run; its first stage creates it. None outside DVC."""
    dvc = processes.dvc_process()
    if dvc is None:
        return None
    process = processes.identity(dvc)
    query = f"tags.{STAGE_TAG} = '{PIPELINE}' and tags.{PROCESS_TAG} like '{process.rsplit(' ', 1)[0]} %'"
    found = client.search_runs([experiment], query, max_results=1000)
    run = next((run for run in found if processes.is_same(run.data.tags[PROCESS_TAG], process)), None)
    if run is None:
        run = _create(client, experiment, cfg, dvc)
    if len(run.data.params) < len(all_params(cfg)):  # also where an earlier attempt ended here
        _fill(client, run.info.run_id, cfg)
    return Parent(run.info.run_id, run.info.run_name)


def _create(client: MlflowClient, experiment: str, cfg: Params, dvc: psutil.Process) -> Run:
    changed = changes(cfg)
    earlier = client.search_runs([experiment], f"tags.{STAGE_TAG} = '{PIPELINE}'", max_results=1000)
    tags = {
        **common_tags(PIPELINE, processes.identity(dvc)),
        "command": _command(dvc),
        "changed": ", ".join(f"{key}={value}" for key, value in changed.items()),
        **{f"changed.{key}": value for key, value in changed.items()},
        "mlflow.source.name": "dvc.yaml",
        "mlflow.runColor": COLORS[len(earlier) % len(COLORS)],
    }
    tags[NOTE_TAG] = note(tags)
    name = _unused(experiment_name() or f"repro {git_revision()[:7]}", {run.info.run_name for run in earlier})
    began = int(dvc.create_time() * 1000)
    return client.create_run(experiment, began, {key: value for key, value in tags.items() if value}, name)


def _fill(client: MlflowClient, run_id: str, cfg: Params) -> None:
    """Add what may be added twice; the parameters last, because they tell that it is done."""
    if Path(PARAMS_YAML).is_file():
        client.log_artifact(run_id, PARAMS_YAML)
    client.log_batch(run_id, params=logged(params.flatten(cfg)))


def common_tags(stage: str, process: str) -> dict[str, str]:
    """The tags of every run: what ran, by whom, on which commit and in which experiment."""
    return {
        STAGE_TAG: stage,
        PROCESS_TAG: process,
        "dvc_experiment": experiment_name() or WORKSPACE,
        "git_revision": git_revision(),
        "mlflow.user": system.user() or "unknown",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git_revision(),
    }


def note(tags: Mapping[str, str]) -> str:
    """Markdown: what made a run and how to get it back."""
    experiment = tags["dvc_experiment"]
    back = f"`dvc exp apply {experiment}`" if experiment != WORKSPACE else f"`git checkout {tags['git_revision'][:12]}`"
    changed = f"Changed: `{tags['changed']}`." if tags.get("changed") else "Parameters as committed."
    return f"`{tags['command']}` at commit `{tags['git_revision'][:12]}`. {changed} Back to it: {back}."


def experiment_name() -> str | None:
    """The name of the DVC experiment; None in a plain `dvc repro`."""
    return os.environ.get("DVC_EXP_NAME") or None


@functools.cache  # the commit that this process runs, and each call would start git
def git_revision() -> str:
    """The commit checked out; in a DVC experiment the one that it started from."""
    return os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD").strip() or "unknown"


def changes(cfg: Params) -> dict[str, str]:
    """The parameters that differ from those committed, with their present value; none where nothing is committed."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = _git("show", f"{git_revision()}:./{PARAMS_YAML}")
        committed = all_params(params.parse(YAML(typ="safe", pure=True).load(text), PARAMS_YAML))
    except (ParamsError, YAMLError):  # no git, or a file of other code
        return {}
    present = all_params(cfg)
    names = [name for name in {**committed, **present} if committed.get(name) != present.get(name)]
    return {name: present.get(name, "removed") for name in names}


def all_params(cfg: Params) -> dict[str, str]:
    """All of params.yaml under dotted names, spelled as `-S` takes them."""
    return spelled(params.flatten(cfg))


def spelled(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as YAML and `-S` have them: null, true, [1, 2], {a: 1}."""
    return {name: _spelled(value) for name, value in values.items()}


def logged(values: Mapping[str, Any]) -> list[Param]:
    """Parameters as MLflow takes them."""
    from mlflow.entities import Param

    return [Param(name, value) for name, value in spelled(values).items()]


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_spelled(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_spelled, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def close_stale(experiment: str) -> None:
    """End the runs whose process on this machine has died: it was killed, or it ended before the last stage."""
    import mlflow

    client = mlflow.MlflowClient()
    running = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000)
    dead = [run for run in running if processes.is_dead(run.data.tags.get(PROCESS_TAG, ""))]
    above = {run.data.tags.get(PARENT_TAG) for run in dead}
    for run in sorted(dead, key=lambda run: run.info.run_id in above):  # those below first
        below = children(client, experiment, run.info.run_id)
        client.set_terminated(run.info.run_id, _end(run, below), end_time=_last_sign(client, run, below))


def children(client: MlflowClient, experiment: str, run_id: str) -> list[Run]:
    """The runs below a run."""
    return list(client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{run_id}'", max_results=1000))


def _end(run: Run, below: list[Run]) -> str:
    """How a run ended that nobody closed: a pipeline as its stages did, because not all reach the last stage."""
    if run.data.tags.get(STAGE_TAG) != PIPELINE or not below:
        return "KILLED"
    found = {each.info.status for each in below}
    return next((status for status in ("FAILED", "KILLED") if status in found), "FINISHED")


def _last_sign(client: MlflowClient, run: Run, below: list[Run]) -> int:
    """When a run was last heard of, in ms of Unix time."""
    names = [name for name in run.data.metrics if not name.startswith("system/")][:1]
    times = [moment.timestamp for name in names for moment in client.get_metric_history(run.info.run_id, name)]
    return max([run.info.start_time, *times, *(each.info.end_time or 0 for each in below)])


def _unused(name: str, taken: Collection[str]) -> str:
    """The name, with a number if there is such a run already."""
    numbered = (name if number == 1 else f"{name} ({number})" for number in range(1, len(taken) + 2))
    return next(each for each in numbered if each not in taken)


def _command(dvc: psutil.Process) -> str:
    """The command as it was typed, without the folders of its programs; of a queued experiment only that it was."""
    words = dvc.cmdline()
    start = next(number for number, word in enumerate(words) if Path(word).name in ("dvc", "dvc.exe"))
    typed = ["dvc", *words[start + 1 :]]
    return "dvc queue start" if "exec-run" in typed else shlex.join(typed)


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, encoding="utf-8", check=True).stdout
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""
