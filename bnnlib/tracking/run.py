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
    from mlflow.entities import Metric

    from bnnlib.config.params import Params
    from bnnlib.data.splits import Split

    Row = Mapping[str, float | None]
    Text = Callable[[str], str]

LAST_STAGE = "report"  # ends the run above
KILLED_GRACE_S = 5.0  # for the last attempts of a killed stage: what kills it does not wait for long
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
        run.start(cfg, params, data, system)
        try:
            yield run
        except (processes.Stopped, KeyboardInterrupt):
            run.finish("KILLED")
            raise
        except BaseException:
            run.finish("FAILED")
            raise
        run.finish("FINISHED")


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

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        import mlflow

        return mlflow.MlflowClient()

    def call(self, log: Callable[[], None]) -> None:
        """Log something by MLflow's own functions, now or when the store can be reached."""
        self._outbox.send(log)

    def start(self, cfg: Params, params: Mapping[str, Any], data: Sequence[Path], system: bool) -> None:
        """Begin the run, below the one that this pipeline run shares."""
        hashes = " ".join(f"{path.name}:{files.sha256(path)}" for path in data)
        began = _now_ms()
        self.call(lambda: self._start(cfg, {"data_sha256": hashes} if hashes else {}, began))
        self.call(lambda: self._activate(pipeline.spelled(params), system))

    def _start(self, cfg: Params, tags: Mapping[str, str], began: int) -> None:
        self.experiment_id = ready(self.store)
        pipeline.close_stale(self.experiment_id)
        self.parent = pipeline.parent_run(self.client, self.experiment_id, cfg)
        all_tags = {**pipeline.common_tags(self.stage, processes.identity()), **tags}
        name = self.name
        if self.parent:
            all_tags[PARENT_TAG] = self.parent.run_id
            name = f"{name}, {self.parent.name}"
        self.run_id = self.client.create_run(self.experiment_id, began, all_tags, name).info.run_id

    def _activate(self, params: Mapping[str, str], system: bool) -> None:
        """Log the parameters; let MLflow's functions that know no run's id, such as `log_input`, find the run."""
        import mlflow
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(name, value) for name, value in params.items()])
        if mlflow.active_run() is None:
            mlflow.start_run(run_id=self.run_id, log_system_metrics=system)

    def finish(self, status: str) -> None:
        """End the run, and with the last stage, or with one that did not finish, the run above."""
        ends_parent = self.stage == LAST_STAGE or status != "FINISHED"
        self.call(lambda: self._finish(status, ends_parent))
        grace = (KILLED_GRACE_S if status == "KILLED" else GRACE_S) if self.run_id else 0
        if not self._outbox.flush(grace) and self.run_id:
            self._give_up()

    def _finish(self, status: str, ends_parent: bool) -> None:
        _deactivate(status)
        self.client.set_terminated(self.run_id, status)
        if self.parent and ends_parent:
            self.client.set_terminated(self.parent.run_id, status)

    def _give_up(self) -> None:
        """Leave no run behind that says FINISHED and has only a part of its log."""
        print(f"warning: MLflow at {self.store} has only a part of the log of {self.stage}", file=sys.stderr)
        with suppress(Exception):  # of any kind, as in the outbox; if it stays RUNNING, the next stage closes it
            _deactivate("FAILED")
            self.client.set_terminated(self.run_id, "FAILED")

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

    def log_artifact(self, path: Path, above: bool = False) -> None:
        """Log a file, or a folder with its content; ``above``: for the run above instead."""
        self.call(lambda: self._log_artifact(path, above))

    def _log_artifact(self, path: Path, above: bool) -> None:
        run_id = self.parent.run_id if above and self.parent else self.run_id
        if path.is_dir():
            self.client.log_artifacts(run_id, str(path), path.name)
        else:
            self.client.log_artifact(run_id, str(path))

    def log_dataset(self, path: Path, split: Split, context: str) -> None:
        """Log that the run used a data set, as "train", "validation" or "test"."""
        digest = files.sha256(path)[:32]
        self.call(lambda: _log_dataset(path, split, context, digest))

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
        below = self.client.search_runs(
            [self.experiment_id], f"tags.`{PARENT_TAG}` = '{self.parent.run_id}'", max_results=1000
        )
        restored = [stage for stage in stages if stage not in {run.data.tags[STAGE_TAG] for run in below}]
        missing = [each for each in scores if each.key not in parent.data.metrics]
        for variant, moments in curves.items():
            if f"train_{variant}" in restored:
                missing += moments
        self.client.log_batch(self.parent.run_id, metrics=missing)
        if restored:
            self.client.set_tag(self.parent.run_id, "restored", " ".join(restored))
        self.client.set_tag(
            self.parent.run_id, NOTE_TAG, f"{pipeline.note(parent.data.tags)}\n\n{text(self.parent.run_id)}"
        )


def _moments(metrics: Row, step: int = 0) -> list[Metric]:
    from mlflow.entities import Metric

    now = _now_ms()
    return [Metric(name, value, now, step) for name, value in metrics.items() if value is not None]


def _epoch(variant: str, row: Row, names: Sequence[str] | None = None) -> list[Metric]:
    """Metrics of a row of a training's history, of those columns alone where ``names`` is given."""
    chosen = {f"{variant}.{name}": value for name, value in row.items() if name in (names or row.keys() - {"epoch"})}
    return _moments(chosen, int(row["epoch"] or 0))


def _log_dataset(path: Path, split: Split, context: str, digest: str) -> None:
    import mlflow
    from mlflow.data.numpy_dataset import from_numpy

    with warnings.catch_warnings():
        # MLflow registers its source for local files twice, then warns that it cannot choose.
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        dataset = from_numpy(split.images, targets=split.labels, source=str(path), name=path.stem, digest=digest)
    mlflow.log_input(dataset, context=context)


def _deactivate(status: str) -> None:
    """Take the run from MLflow, which otherwise ends it as FINISHED when the process ends."""
    import mlflow

    if mlflow.active_run() is not None:
        mlflow.end_run(status)


def _now_ms() -> int:
    return int(time.time() * 1000)
