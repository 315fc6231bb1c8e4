"""An interrupted training goes on, and gives what it would have given without the interruption."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from support import imports
from support.fits import ADAM, BOP, MUON, TRAIN, VALIDATION, config, equal, fitted, recipe

from bnnlib.config.spec import Optimizer, Quantization, Training
from bnnlib.core import fingerprint
from bnnlib.training import checkpoint, loop
from bnnlib.training.checkpoint import Checkpoint
from bnnlib.training.loop import Epoch

DATA = {"train": "0" * 64}


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
    cfg, path = config(quantization.bits, **changes), tmp_path / "new/training.pt"
    assert_same(fit(cfg, path, epochs=1), expected[:1])
    steps = counted(monkeypatch)
    assert_same(fit(cfg, path, epochs=3), expected[:3])
    assert_same(fit(cfg, path), expected)
    assert len(steps) == 3 * 4  # of the last three epochs, no more


def test_a_finished_training_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "training.pt"
    expected = fit(config(1), path)
    steps = counted(monkeypatch)
    assert_same(fit(config(1), path), expected)
    assert steps == []


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_file_starts_the_training_anew(
    damage: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.pt"
    expected = fit(config(1), path)
    path.write_bytes(path.read_bytes()[:-5_000] if damage is None else damage)
    assert_same(fit(config(1), path), expected)
    assert f"warning: {path} is damaged (" in capsys.readouterr().err
    assert_same(fit(config(1), path), expected)
    assert capsys.readouterr() == (f"{path}: the training goes on from here\n", "")


def test_a_file_of_another_shape_is_damaged_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "training.pt"
    torch.save({"parts": []}, path)
    assert Checkpoint(path).load() is None
    assert "is damaged ('seconds')" in capsys.readouterr().err


class Harmful:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of the file has run",))


def test_no_code_of_the_file_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "training.pt"
    torch.save({"seconds": 0.0, "state": Harmful()}, path)
    assert Checkpoint(path).load() is None
    assert "is damaged" in capsys.readouterr().err


def test_where_nothing_can_be_written_the_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert_same(fit(config(1), tmp_path / "file/training.pt"), fitted(1))
    assert capsys.readouterr().err.count("after an interruption the training starts anew") == 2


def test_the_seconds_of_all_parts_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 100.0, 107.0])
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    kept = Checkpoint(tmp_path / "training.pt")
    kept.save({})
    kept = Checkpoint(tmp_path / "training.pt")
    kept.load()
    kept.save({})
    assert kept.seconds == 12.0


def test_another_training_has_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(cfg: Training, data: dict[str, str]) -> Path | None:
        return checkpoint.of(tmp_path, cfg, data).path

    same = name(config(1), DATA)
    assert name(config(1), dict(DATA)) == same
    others = [name(config(1, seed=1), DATA), name(config(1), {"train": "1" * 64})]
    monkeypatch.setattr(fingerprint, "of_package", lambda names: "other code")
    others.append(name(config(1), DATA))
    assert len({same, *others}) == 4


def test_all_code_that_a_training_uses_counts() -> None:
    found = {file for module in ("training/loop", "core/runtime") for file in imports.closure(f"bnnlib/{module}.py")}
    needed = {file.removeprefix("bnnlib/") for file in found if not file.endswith("__init__.py")}
    assert "nn/quantizers.py" in needed
    assert {file for file in needed if not file.startswith(checkpoint.CODE)} == {"core/errors.py", "core/files.py"}
