"""The MLflow run of a stage: parameters, scores, data sets, files; and what of it the run above shows too."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.core import files
from bnnlib.tracking import pipeline, processes
from bnnlib.tracking.experiment import ready
from bnnlib.tracking.outbox import GRACE_S, Outbox
from bnnlib.tracking.pipeline import NOTE_TAG, PARENT_TAG, STAGE_TAG, Parent
from bnnlib.tracking.store import find_store, set_defaults

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    from bnnlib.config.params import Params
    from bnnlib.data.splits import Split

    Row = Mapping[str, float | None]
    Text = Callable[[str], str]

LAST_STAGE = "report"  # ends the run above
KILLED_GRACE_S = 6.0  # for the last attempts of a killed stage: Docker, say, waits ten seconds before it insists
CURVES = ("train_loss", "validation_loss", "train_macro_f1", "validation_macro_f1")  # of each epoch, for the run above


@contextmanager
def open_run(
    stage: str,
    cfg: Params,
    params: Mapping[str, Any],
    data: Sequence[Path],
    *,
    name: str | None = None,
    system: bool = False,
) -> Iterator[RunLog]:
    """Open the run of one stage; a signal ends it as KILLED, an error as FAILED.

    ``params``: those of params.yaml that the stage uses, by dotted name. ``data``: the files whose hashes are logged.
    ``name``: of the run, by default the stage's. ``system``: whether the load of processor and memory is logged.
    """
    set_defaults()
    with processes.stoppable():
        run = RunLog(stage, name or stage)
        status = "FAILED"
        try:
            run.start(cfg, params, system)
            run.log_hashes(data)
            yield run
            status = "FINISHED"
        except (processes.Stopped, KeyboardInterrupt, GeneratorExit):  # the last one where a sweep is left
            status = "KILLED"
            raise
        finally:
            run.finish(status)


class RunLog:
    """One MLflow run. An error of the store costs a warning, never a result, and what fails is tried again.

    Until the store answers there is no run, and calls wait. ``run_id``, ``experiment_id``, ``parent`` and ``client``
    are for functions passed to `call`.
    """

    def __init__(self, stage: str, name: str) -> None:
        self.stage = stage
        self.name = name
        self.store = find_store(os.environ, Path.cwd())
        self.run_id = ""
        self.experiment_id = ""
        self.parent: Parent | None = None
        self._outbox = Outbox(self.store)
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        import mlflow

        return mlflow.MlflowClient()

    def call(self, log: Callable[[], object]) -> None:
        """Log something by MLflow's own functions, now or when the store can be reached.

        It is called again after an error of the store, so it must not add twice what it has added before the error.
        """
        self._outbox.send(log)

    def start(self, cfg: Params, params: Mapping[str, Any], system: bool) -> None:
        """Begin the run, below the one that this pipeline run shares."""
        began = now_ms()
        self._outbox.send(lambda: self._start(cfg, began), essential=True)
        self.call(lambda: self.client.log_batch(self.run_id, params=pipeline.logged(params)))
        if system:
            self.call(self._watch_system)

    def _start(self, cfg: Params, began: int) -> None:
        self.experiment_id = ready(self.store)
        pipeline.close_stale(self.experiment_id)
        self.parent = pipeline.parent_run(self.client, self.experiment_id, cfg)
        tags = pipeline.common_tags(self.stage, processes.identity())
        name = self.name
        if self.parent:
            tags[PARENT_TAG] = self.parent.run_id
            name = f"{name}, {self.parent.name}"
        self.run_id = self.client.create_run(self.experiment_id, began, tags, name).info.run_id

    def _watch_system(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self.run_id)
        self._monitor.start()

    def log_hashes(self, data: Sequence[Path]) -> None:
        """Log the SHA-256 of the files that the stage reads; `FileError` where one is missing."""
        hashes = " ".join(f"{path.name}:{files.sha256(path)}" for path in data)
        if hashes:
            self.call(lambda: self.client.set_tag(self.run_id, "data_sha256", hashes))

    def finish(self, status: str) -> None:
        """End the run, and with the last stage, or with one that did not finish, the run above."""
        whole = False
        try:
            if self._monitor is not None:
                self._monitor.finish()
            self.call(lambda: self._finish(status))
            whole = self._outbox.flush((KILLED_GRACE_S if status == "KILLED" else GRACE_S) if self.run_id else 0)
        finally:  # also after another signal
            if self.run_id and not whole:
                self._give_up("FAILED" if status == "FINISHED" else status)

    def _finish(self, status: str) -> None:
        if status == "FINISHED" and not self._outbox.whole:
            return  # `_give_up` ends it
        self.client.set_terminated(self.run_id, status)
        if self.parent and (self.stage == LAST_STAGE or status != "FINISHED"):
            self.client.set_terminated(self.parent.run_id, status)

    def _give_up(self, status: str) -> None:
        """A run that has only a part of its log never says FINISHED."""
        print(f"warning: MLflow at {self.store} has only a part of the log of {self.stage}", file=sys.stderr)
        with suppress(Exception):  # of any kind, as in the outbox; if it stays RUNNING, the next stage closes it
            self.client.set_terminated(self.run_id, status)
            if self.parent:
                self.client.set_terminated(self.parent.run_id, status)

    def log_metrics(self, metrics: Row, above: bool = True) -> None:
        """Log numbers here, and for the run above unless they say nothing of its result; None is left out."""
        found = _moments(metrics)
        self.call(lambda: self._log(found, found if above else []))

    def log_epoch(self, variant: str, row: Row) -> None:
        """Log an epoch of a training, a row of its history: all of it here, the curves for the run above."""
        here, above = _epoch(variant, row), _epoch(variant, row, CURVES)
        self.call(lambda: self._log(here, above))

    def _log(self, here: Sequence[Metric], above: Sequence[Metric]) -> None:
        self.client.log_batch(self.run_id, metrics=here)
        if self.parent:
            self.client.log_batch(self.parent.run_id, metrics=above)

    def log_artifact(self, path: Path, folder: Path = Path(), above: bool = False) -> None:
        """Log a file, into a ``folder`` of the artifacts, or a whole folder; ``above``: for the run above instead."""
        self.call(lambda: self._log_artifact(path, folder, above))

    def _log_artifact(self, path: Path, folder: Path, above: bool) -> None:
        run_id = self.parent.run_id if above and self.parent else self.run_id
        if path.is_dir():
            self.client.log_artifacts(run_id, str(path), path.name)
        else:
            self.client.log_artifact(run_id, str(path), None if folder == Path() else folder.as_posix())

    def log_dataset(self, path: Path, split: Split, context: str) -> None:
        """Log that the run used a data set, as "train", "validation" or "test"."""
        used = _dataset(path, split, context)
        self.call(lambda: self.client.log_inputs(self.run_id, [used]))

    def complete(self, stages: Sequence[str], scores: Row, histories: Mapping[str, Sequence[Row]], text: Text) -> None:
        """Give the run above the results of those ``stages`` that did not run this time, and its description.

        DVC takes the outputs of a stage from its cache, or leaves them as they are: no code of the stage runs.
        ``scores``: by dotted name. ``histories``: rows of epochs by variant. ``text``: Markdown, from that run's id.
        """
        curves = {
            variant: [each for row in rows for each in _epoch(variant, row, CURVES)]
            for variant, rows in histories.items()
        }
        found = _moments(scores)
        self.call(lambda: self._complete(stages, found, curves, text))

    def _complete(
        self, stages: Sequence[str], scores: Sequence[Metric], curves: Mapping[str, Sequence[Metric]], text: Text
    ) -> None:
        if self.parent is None:
            return
        parent = self.client.get_run(self.parent.run_id)
        below = pipeline.children(self.client, self.experiment_id, self.parent.run_id)
        ran = {run.data.tags[STAGE_TAG] for run in below}
        logged = {run.data.tags[STAGE_TAG] for run in below if run.info.status == "FINISHED"}
        missing = [each for each in scores if each.key not in parent.data.metrics]
        for variant, moments in curves.items():
            if f"train_{variant}" not in logged:
                missing += [each for each in moments if each.step not in self._steps(parent, each.key)]
        self.client.log_batch(self.parent.run_id, metrics=missing)
        restored = " ".join(stage for stage in stages if stage not in ran)
        if restored:
            self.client.set_tag(self.parent.run_id, "restored", restored)
        self.client.set_tag(
            self.parent.run_id, NOTE_TAG, f"{pipeline.note(parent.data.tags)}\n\n{text(self.parent.run_id)}"
        )

    def _steps(self, run: Run, key: str) -> set[int]:
        """The epochs of a curve that a run has."""
        if key not in run.data.metrics:
            return set()
        return {moment.step for moment in self.client.get_metric_history(run.info.run_id, key)}


def _moments(metrics: Row, step: int = 0) -> list[Metric]:
    from mlflow.entities import Metric

    now = now_ms()
    return [Metric(name, value, now, step) for name, value in metrics.items() if value is not None]


def _epoch(variant: str, row: Row, names: Sequence[str] | None = None) -> list[Metric]:
    """Metrics of a row of a training's history, of those columns alone where ``names`` is given."""
    chosen = {f"{variant}.{name}": value for name, value in row.items() if name in (names or row.keys() - {"epoch"})}
    return _moments(chosen, int(row["epoch"] or 0))


def _dataset(path: Path, split: Split, context: str) -> DatasetInput:
    from mlflow.data.numpy_dataset import from_numpy
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = files.sha256(path)[:32]
    with warnings.catch_warnings():
        # MLflow registers its source for local files twice, then warns that it cannot choose.
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        found = from_numpy(split.images, targets=split.labels, source=str(path), name=path.stem, digest=digest)
    about = found.to_dict()
    dataset = Dataset(
        about["name"], about["digest"], about["source_type"], about["source"], about["schema"], about["profile"]
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def now_ms() -> int:
    """The time as MLflow has it: ms of Unix time."""
    return int(time.time() * 1000)
