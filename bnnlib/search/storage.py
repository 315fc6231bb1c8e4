"""The trials of a search in a file, by Optuna: several processes take, report and end them.

A trial has a place among those asked for. One whose process was killed gives its place back, and the next to take that
place samples by the same seed: with one job the trials do not depend on how often the search was interrupted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlib.config.topology import Topology
from bnnlib.core import files, fingerprint
from bnnlib.core.extras import needed
from bnnlib.search.plan import Search
from bnnlib.search.results import SearchError, State, Trial, objective
from bnnlib.sweeps.locks import Lock
from bnnlib.sweeps.results import Moment
from bnnlib.tracking import processes

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

NAME = "search"  # of Optuna's study
FIRST_BYTES = b'{"op_code":'  # of Optuna's file
ABOUT, EXHAUSTED = "about", "exhausted"  # of the study
CLAIM, MOMENTS, ERROR = "claim", "moments", "error"  # of a trial
SAMPLES = 20  # for a shape that was not tried yet
UNPRUNED = 5  # trials that are complete before any is pruned
WARM_UP_SHARE = 4  # no trial is pruned in the first fourth of its epochs


@dataclass(frozen=True)
class Claim:
    """A trial that this process trains."""

    number: int
    topology: Topology
    trial: optuna.Trial


class Storage:
    """The file with the trials of one search."""

    def __init__(self, path: Path, search: Search, *, create: bool = False) -> None:
        """Open it. `SearchError` where it holds something else, or is missing and not to be created."""
        with needed("pipeline", "bnn search"):
            import optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.path = path
        self.lock = Lock(path)
        self._search = search
        if not create and not path.exists():
            raise SearchError(
                f"{path}: not found on {socket.gethostname()}; all workers of a search need its storage at one path: "
                "name a file in a folder that they share with --storage"
            )
        with self.lock:
            self._study = self._opened()

    def trials(self) -> list[Trial]:
        """The trials that have a place, in order."""
        frozen = self._study.get_trials(deepcopy=False)
        return sorted((_trial(each) for each in frozen if _has_place(each)), key=lambda trial: trial.number)

    def missing(self) -> list[int]:
        """The places that are free; none where no other shape can be found."""
        held = {trial.number for trial in self.trials()}
        exhausted = self._study.user_attrs.get(EXHAUSTED, False)
        return [] if exhausted else [number for number in range(self._search.trials) if number not in held]

    def claim(self, process: str, call: int) -> Claim | None:
        """Begin the first trial that is missing; None where none is, or no shape is found that was not tried.

        ``process``: the search that asks; ``call``: which of its calls. The same one asks again where Dask lost the
        worker that made it before, and so it first gives back what it had.
        """
        with self.lock:
            self._release(
                each for each in self._running() if _is_over(each) or _owner(each) == {"process": process, "call": call}
            )
            free = self.missing()
            return self._sampled(free[0], process, call) if free else None

    def release(self, process: str) -> None:
        """Give back what a search left unfinished."""
        with self.lock:
            self._release(each for each in self._running() if _owner(each).get("process") == process)

    def release_killed(self) -> None:
        """Give back what searches left that were killed on this machine."""
        with self.lock:
            self._release(each for each in self._running() if _is_over(each))

    def report(self, claim: Claim, moment: Moment) -> bool:
        """Store the loss of an epoch; whether the trial is worth the others."""
        claim.trial.report(moment.validation_loss, moment.epoch)
        return moment.epoch == self._search.epochs or not claim.trial.should_prune()

    def end(self, claim: Claim, moments: Sequence[Moment], state: State, error: str | None = None) -> None:
        """Store how a trial went."""
        import optuna

        states = {"pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
        with self.lock:
            claim.trial.set_user_attr(MOMENTS, [moment.model_dump() for moment in moments])
            if state == "failed":
                claim.trial.set_user_attr(ERROR, error)
            value = objective(moments) if state == "complete" else None
            self._study.tell(claim.trial, value, state=states.get(state))

    def _opened(self) -> optuna.Study:
        """Optuna's study in the file, which is made where it is missing."""
        import optuna
        from optuna.storages.journal import JournalFileBackend

        _heal(self.path)
        try:
            # Our lock instead of Optuna's own, which a killed process would hold for another 30 seconds.
            backend = JournalFileBackend(str(self.path), lock_obj=self.lock)  # type: ignore[arg-type]
            storage = optuna.storages.JournalStorage(backend)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(self.path) from error
        names = optuna.get_all_study_names(storage)
        if names not in ([], [NAME]):
            raise _damaged(self.path)
        if not names:
            optuna.create_study(storage=storage, study_name=NAME)
        pruner = optuna.pruners.MedianPruner(UNPRUNED, self._search.epochs // WARM_UP_SHARE + 1)
        study = optuna.load_study(storage=storage, study_name=NAME, pruner=pruner)
        about = self._search.about()
        if ABOUT not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(ABOUT, about)
        _refuse_other(self.path, study.user_attrs.get(ABOUT, {}), about)
        return study

    def _sampled(self, number: int, process: str, call: int) -> Claim | None:
        """Take samples until one has a new shape. Optuna's sampler does not learn from the others."""
        import optuna

        space, seed = self._search.space, self._search.job.training.seed
        tried = [trial.topology for trial in self.trials()]
        for attempt in range(SAMPLES):
            self._study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number, attempt))
            if number == attempt == 0:
                self._study.enqueue_trial(space.start())
            trial = self._study.ask(self._distributions())
            topology = space.topology(trial.params)
            if topology is not None and topology not in tried:
                claim = {"number": number, "topology": topology.model_dump(), "process": process, "call": call}
                trial.set_user_attr(CLAIM, claim)
                return Claim(number, topology, trial)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if not self._running():  # else the sampler may think of other shapes when that has ended
            self._study.set_user_attr(EXHAUSTED, True)
        return None

    def _distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import FloatDistribution, IntDistribution

        return {
            name: FloatDistribution(low, high, log=True) if log else IntDistribution(int(low), int(high))
            for name, (low, high, log) in self._search.space.ranges().items()
        }

    def _running(self) -> list[FrozenTrial]:
        import optuna

        return self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))

    def _release(self, trials: Iterable[FrozenTrial]) -> None:
        """End trials without a result: their places are free again."""
        import optuna

        for each in trials:
            self._study.tell(each.number, state=optuna.trial.TrialState.FAIL)


def _has_place(trial: FrozenTrial) -> bool:
    return CLAIM in trial.user_attrs and (trial.state.name != "FAIL" or ERROR in trial.user_attrs)


def _owner(trial: FrozenTrial) -> dict[str, Any]:
    claim = trial.user_attrs.get(CLAIM, {})
    return {name: claim.get(name) for name in ("process", "call")}


def _is_over(trial: FrozenTrial) -> bool:
    """Whether its process has ended: it was killed, perhaps while it claimed, which others wait for."""
    return CLAIM not in trial.user_attrs or processes.is_dead(trial.user_attrs[CLAIM]["process"])


def _trial(trial: FrozenTrial) -> Trial:
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    claim = trial.user_attrs[CLAIM]
    return Trial(
        number=claim["number"],
        state=states.get(trial.state.name, "running"),
        topology=Topology.model_validate(claim["topology"]),
        sample=trial.params,
        moments=tuple(Moment(**each) for each in trial.user_attrs.get(MOMENTS, [])),
        error=trial.user_attrs.get(ERROR),
        process=claim["process"],
    )


def _seed(*numbers: int) -> int:
    return int(fingerprint.of(numbers), 16) % 2**32


def _heal(path: Path) -> None:
    """Cut off what a killed process, or one with a full disk, wrote of a line; Optuna would not read on behind it."""
    content = files.read_bytes(path) if path.exists() else b""
    if content and not content.startswith(FIRST_BYTES):
        raise _damaged(path)
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _damaged(path: Path) -> SearchError:
    return SearchError(f"{path}: not the storage of a search, or damaged; name another file with --storage")


def _refuse_other(path: Path, found: dict[str, Any], about: dict[str, str | int]) -> None:
    """`SearchError` that says what is different where the file holds another search."""
    other = [f"{name} {found.get(name)}, not {value}" for name, value in about.items() if found.get(name) != value]
    if other:
        raise SearchError(
            f"{path}: holds another search ({'; '.join(other)}); name other files with --storage and --out, or move "
            "both away"
        )
