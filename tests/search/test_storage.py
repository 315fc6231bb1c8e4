"""The file of a search: who trains which trial, what a killed process leaves, and what the file must be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.searches import Site, site

from bnnlib.search import trial
from bnnlib.search.results import SearchError, objective
from bnnlib.search.storage import Claim, Storage
from bnnlib.sweeps import worker
from bnnlib.sweeps.results import Moment
from bnnlib.tracking import processes

HERE = processes.identity()


@pytest.fixture(scope="module")
def shared(raw_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site(tmp_path_factory.mktemp("storage"), raw_dir)


@pytest.fixture
def at(shared: Site, tmp_path: Path) -> Site:
    """A site of its own, with the same files."""
    shutil.copytree(shared.folder, tmp_path / "site", symlinks=True)
    return Site(tmp_path / "site")


def moments(*losses: float) -> list[Moment]:
    return [
        Moment(key="", epoch=epoch, train_loss=1.0, validation_loss=loss, validation_macro_f1=0.5, flip_ratio=None)
        for epoch, loss in enumerate(losses, start=1)
    ]


def claimed(storage: Storage, process: str = HERE, call: int = 0) -> Claim:
    found = storage.claim(process, call)
    assert found is not None
    return found


def complete(storage: Storage, call: int, *losses: float) -> Claim:
    claim = claimed(storage, call=call)
    for moment in moments(*losses):
        storage.report(claim, moment)
    storage.end(claim, moments(*losses), "complete")
    return claim


@pytest.fixture(scope="module")
def killed() -> str:
    """The identity of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return processes.identity(psutil.Process(process.pid))


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((4.0,), 4.0), ((4.0, 3.0, 2.0), 2.0), ((5.0,) * 6 + (2.0, 4.0), 3.0), ((9.0,) * 9 + (1.0, 2.0, 6.0), 3.0)],
)
def test_the_objective_is_the_mean_loss_of_the_last_fourth(losses: tuple[float, ...], expected: float) -> None:
    assert objective(moments(*losses)) == expected


def test_each_claim_has_a_place_and_a_shape_of_its_own_and_the_number_of_trials_is_the_total(at: Site) -> None:
    storages = [at.storage("s", trials=5) for _ in range(2)]
    claims = [claimed(storages[number % 2], call=number) for number in range(5)]
    assert [claim.number for claim in claims] == [0, 1, 2, 3, 4]
    assert len({str(claim.topology) for claim in claims}) == 5
    assert storages[0].claim(HERE, 5) is None
    assert at.storage("s", trials=6).missing() == [5]


def test_places_of_a_killed_search_are_free_and_those_of_living_ones_are_not(at: Site, killed: str) -> None:
    storage = at.storage("s")
    first, lost = claimed(storage), claimed(storage, killed)
    again, last = claimed(storage, call=1), claimed(storage, killed, call=1)
    assert [claim.number for claim in (first, lost, again, last)] == [0, 1, 1, 2]
    at.storage("s").release_killed()
    assert [each.number for each in storage.trials()] == [0, 1]


def test_a_place_is_sampled_by_the_same_seed_again(at: Site, killed: str) -> None:
    storage = at.storage("s")
    origin = claimed(storage, killed)
    assert claimed(storage).topology == origin.topology  # the named topology, scaled
    second = claimed(storage, killed, call=1)
    assert claimed(storage, call=1).topology == second.topology


def test_a_call_that_dask_makes_again_takes_its_place_again(at: Site) -> None:
    storage = at.storage("s")
    lost = claimed(storage, call=3)
    other = claimed(storage, call=4)
    again = claimed(at.storage("s"), call=3)
    assert (lost.number, other.number, again.number) == (0, 1, 0)


def test_a_trial_that_was_released_is_given_up(at: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a worker that goes on when the search it belongs to has ended."""
    storage = at.storage("s", trials=1)

    def released(*_: Any) -> Any:
        storage.release(HERE)
        return iter(["an epoch"])

    monkeypatch.setattr(worker, "epochs_of", released)
    monkeypatch.setattr(worker, "moment", lambda *_: moments(1.0)[0])
    assert trial._run(at.search(), storage, claimed(storage), {}) is None
    assert storage.trials() == []
    assert storage.missing() == [0]


def test_pruning_compares_with_the_median_at_the_same_epoch_after_a_fourth(at: Site) -> None:
    storage = at.storage("s")
    for number in range(4):
        complete(storage, number, 1.0, 1.0, 1.0 + number / 10, 1.0)
    bad = claimed(storage, call=8)
    assert all(storage.report(bad, moment) for moment in moments(9.0, 9.0, 9.0))  # too few to compare with
    complete(storage, 9, 1.0, 1.0, 1.5, 1.0)
    worse, near = claimed(storage, call=10), claimed(storage, call=11)
    first, second, third, last = moments(9.0, 9.0, 9.0, 9.0)
    assert storage.report(worse, first)  # the first fourth is not judged
    assert not storage.report(worse, second)
    assert storage.report(near, first)
    assert storage.report(near, moments(9.0, 0.9)[1])
    assert storage.report(near, third)  # its best is better than the median
    assert storage.report(worse, last)  # the last epoch is done
    storage.end(worse, [first, second], "pruned")
    [row] = [each for each in at.storage("s").trials() if each.state == "pruned"]
    assert (row.number, len(row.moments), row.objective) == (worse.number, 2, None)


def test_a_line_that_was_cut_off_is_dropped(at: Site) -> None:
    storage = at.storage("s")
    complete(storage, 0, 1.0, 0.9, 0.8, 0.123456789012345678)
    before = at.places("s").storage.read_bytes()
    at.places("s").storage.write_bytes(before + b'{"op_code":8,"worker_id":"')
    again = at.storage("s")
    assert at.places("s").storage.read_bytes() == before
    assert [each.objective for each in again.trials()] == [0.123456789012345678]
    complete(again, 1, 1.0, 0.9, 0.8, 0.7)
    assert [each.number for each in at.storage("s").trials()] == [0, 1]


@pytest.mark.parametrize(
    "content", [b"trial,state\n", b"\x00\xff", b'{"op_code":0}\n', b'{"op_code":0,"worker_id":"a","study\n{}\n']
)
def test_another_file_is_refused_and_not_changed(at: Site, content: bytes) -> None:
    path = at.places("s").storage
    path.write_bytes(content)
    with pytest.raises(
        SearchError, match=rf"^{path}: not the storage of a search, or damaged; name another .*--storage"
    ):
        at.storage("s")
    assert path.read_bytes() == content


def test_a_storage_that_a_worker_does_not_see_is_named(at: Site) -> None:
    path = at.places("s").storage
    with pytest.raises(SearchError, match=rf"^{path}: not found on .*; all workers .* a folder that they share"):
        Storage(path, at.search())
    assert not path.exists()
