"""An interrupted training goes on, and gives what it would have given without the interruption."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import pytest
import torch
from support import imports
from support.fits import ADAM, BOP, MUON, TRAIN, VALIDATION, config, equal, fitted, recipe

from bnnlib import training
from bnnlib.config.spec import Optimizer, Quantization, Training
from bnnlib.core import checkpoint, fingerprint
from bnnlib.core.checkpoint import Checkpoint
from bnnlib.training import loop
from bnnlib.training.loop import Epoch
from stages import checkpoints


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an entry with each step of a training."""
    step, steps = loop._step, []

    def count(*arguments: Any) -> Any:
        steps.append(1)
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", count)
    return steps


def fit(cfg: Training, path: Path, epochs: int | None = None) -> list[Epoch]:
    """The first epochs of a training that keeps its state, then it is interrupted; by default all."""
    torch.rand(3)  # what came before does not matter
    return list(itertools.islice(loop.fit(TRAIN, VALIDATION, cfg, Checkpoint(path)), epochs))


def assert_same(found: list[Epoch], expected: list[Epoch]) -> None:
    assert [epoch.row() for epoch in found] == [epoch.row() for epoch in expected]
    assert all(equal(a.published, b.published) for a, b in zip(found, expected, strict=True))
    assert found[0].published.topology == expected[0].published.topology


@pytest.mark.parametrize(
    ("quantization", "optimizer"),
    [
        (Quantization(bits=1, real_share=0.5), ADAM),
        (Quantization(bits=1), MUON),
        (Quantization(bits=1, surrogate="annealed"), BOP),
        (Quantization(bits=2, learned_step=True), ADAM),
        (Quantization(bits=16), MUON),
    ],
)
def test_resumed_twice_a_training_gives_the_same_bits(
    quantization: Quantization, optimizer: Optimizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"quantization": quantization, "recipe": recipe(4, optimizer), "norm_images": 60}
    expected = fitted(quantization.bits, **changes)
    cfg, path = config(quantization.bits, **changes), tmp_path / "new/training.state"
    assert_same(fit(cfg, path, epochs=1), expected[:1])
    steps = counted(monkeypatch)
    assert_same(fit(cfg, path, epochs=3), expected[:3])
    assert_same(fit(cfg, path), expected)
    assert len(steps) == 3 * 4  # of the last three epochs, no more


def test_a_finished_training_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "training.state"
    expected = fit(config(1), path)
    steps = counted(monkeypatch)
    assert_same(fit(config(1), path), expected)
    assert steps == []


def test_a_flipped_bit_anywhere_starts_the_training_from_the_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.state"
    expected = fit(config(1), path)
    content = path.read_bytes()
    for at in (*range(0, len(content), len(content) // 200), len(content) - 1):
        path.write_bytes(bytes([*content[:at], content[at] ^ 4, *content[at + 1 :]]))
        assert Checkpoint(path).load() is None
    path.write_bytes(content[:-5_000])
    capsys.readouterr()
    assert_same(fit(config(1), path), expected)
    assert capsys.readouterr().err == f"warning: {path}: damaged: the training starts from the beginning\n"
    assert_same(fit(config(1), path), expected)
    assert capsys.readouterr() == (f"{path}: the training goes on from here\n", "")


class Harmful:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of the file has run",))


def test_no_code_of_the_file_runs(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "training.state")
    kept.save({"code": Harmful()})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        kept.load()


def test_where_nothing_can_be_written_the_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert_same(fit(config(1), tmp_path / "file/training.state"), fitted(1))
    assert capsys.readouterr().err.count("after an interruption the training would start again") == 2


def test_the_seconds_of_all_parts_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 100.0, 107.0, 109.0])
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    Checkpoint(tmp_path / "training.state").save({})
    kept = Checkpoint(tmp_path / "training.state")
    kept.load()
    kept.save({})
    assert kept.seconds() == 14.0


def test_a_second_training_of_the_same_waits_and_finds_the_state_of_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with checkpoint.opened(tmp_path, "same") as kept:
            order.append(str(kept.load()))

    with checkpoint.opened(tmp_path, "same") as kept:
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.3)
        kept.save({"epochs": 1})
        order.append("saved")
    other.join(timeout=30)
    assert order == ["saved", "{'epochs': 1}"]
    with checkpoint.opened(tmp_path, "same"), checkpoint.opened(tmp_path, "another"):
        pass


def test_the_newest_files_of_a_folder_stay(tmp_path: Path) -> None:
    for number in range(checkpoint.KEPT + 3):
        with checkpoint.opened(tmp_path, f"training-{number:02}") as kept:
            kept.save({})
        os.utime(kept.path, (number, number))
    with checkpoint.opened(tmp_path, "training-05"):
        names = sorted(path.stem for path in tmp_path.glob("*.state"))
    assert names == [f"training-{number:02}" for number in range(3, checkpoint.KEPT + 3)]


def test_where_the_folder_cannot_be_made_the_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with checkpoint.opened(tmp_path / "file", "name") as kept:
        assert_same(list(loop.fit(TRAIN, VALIDATION, config(1), kept)), fitted(1))


def test_another_training_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.write_text("data")
    other.write_text("other")
    same = checkpoints.name_of(config(1), [data])
    assert checkpoints.name_of(config(1), [data]) == same
    names = [checkpoints.name_of(config(1, seed=1), [data]), checkpoints.name_of(config(1), [other])]
    for module, function in (
        (fingerprint, "of_package"),
        (torch.backends.cpu, "get_cpu_capability"),
        (llvmlite.binding, "get_host_cpu_name"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, function, lambda *_: "another")
            names.append(checkpoints.name_of(config(1), [data]))
    assert len({same, *names}) == 6
    assert checkpoints.name_of(config(1), [data]) == same


def test_all_code_that_a_training_uses_counts() -> None:
    found = {file for module in ("training/loop", "core/runtime") for file in imports.closure(f"bnnlib/{module}.py")}
    needed = {file.removeprefix("bnnlib/") for file in found if not file.endswith("__init__.py")}
    edges = {"core/errors.py", "core/files.py", "core/system.py"}
    assert "nn/quantizers.py" in needed
    assert {file for file in needed if not file.startswith(training.CODE)} <= edges
