"""The optimizers: Bop by hand, and which parameters each one moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bnnlib import optimizers, params
from bnnlib.models import ConvNet
from bnnlib.optimizers import Bop
from bnnlib.params import Quantization, Training

COMMITTED = params.load(Path(__file__).resolve().parents[1] / "params.yaml").model_dump()


def training_of(**options: Any) -> Training:
    """The committed training of the 1-bit network with other options in the section `binary`."""
    return params.parse({**COMMITTED, "binary": {**COMMITTED["binary"], **options}}, "test").training("binary")


def test_bop_by_hand() -> None:
    # Averages 0.5 g after the first step; a flip where abs > 0.1 and the signs are the same.
    weight = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.3, 0.0])
    weight.grad = torch.tensor([0.4, -0.4, -0.4, 0.4, 0.2, 0.4])
    optimizer = Bop([weight], lr=0.5, threshold=0.1)
    optimizer.step()
    assert weight.tolist() == torch.tensor([-0.3, 0.3, 0.3, -0.3, 0.3, 0.0]).tolist()
    # 0.25 g + 0.5 g: the fifth is above the threshold now; the first's average still asks for -, where it is.
    optimizer.step()
    assert weight.tolist() == torch.tensor([-0.3, 0.3, 0.3, -0.3, -0.3, 0.0]).tolist()


def test_bop_leaves_what_has_no_gradient() -> None:
    weight = torch.tensor([0.3])
    Bop([weight], lr=0.5, threshold=0.0).step()
    assert weight.tolist() == torch.tensor([0.3]).tolist()


def test_bop_takes_no_closure() -> None:
    with pytest.raises(NotImplementedError, match="closure"):
        Bop([torch.ones(1)], lr=0.5, threshold=0.0).step(lambda: 0.0)


def moved(options: dict[str, Any]) -> set[str]:
    """The parameters that one step changes."""
    torch.manual_seed(0)
    model = ConvNet(Quantization(bits=1)).train()
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    cfg = training_of(**options)
    for part in model.parameters():
        part.grad = part.detach().clone() + 1
    used = optimizers.build(model, cfg)
    for optimizer in used:
        optimizer.step()
    return {name for name, part in model.named_parameters() if not torch.equal(part, before[name])}


@pytest.mark.parametrize("optimizer", ["adam", "bop"])
def test_every_parameter_is_moved(optimizer: str) -> None:
    names = {name for name, _ in ConvNet(Quantization(bits=1)).named_parameters()}
    assert moved({"optimizer": optimizer}) == names


def test_bop_changes_signs_alone() -> None:
    model = ConvNet(Quantization(bits=1)).train()
    before = model.head.weight.detach().clone()
    for part in model.parameters():
        part.grad = torch.ones_like(part)
    for optimizer in optimizers.build(model, training_of(optimizer="bop")):
        optimizer.step()
    assert torch.equal(model.head.weight.abs(), before.abs())
    assert not torch.equal(model.head.weight, before)


def test_the_schedule_ends_near_nothing_for_both() -> None:
    model = ConvNet(Quantization(bits=1))
    cfg = training_of(optimizer="bop")
    for optimizer in optimizers.build(model, cfg):
        peak = optimizer.param_groups[0]["lr"]
        schedule = optimizers.schedule(optimizer, epochs=2, steps=5)
        rates = [schedule.get_last_lr()[0]]
        for _ in range(9):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr()[0])
        assert rates[0] == pytest.approx(peak / 25)
        assert max(rates) == pytest.approx(peak)
        assert rates[-1] < peak / 1000


def test_weight_decay_spares_batch_norm() -> None:
    model = ConvNet(Quantization(bits=1))
    (adam,) = optimizers.build(model, training_of(weight_decay=0.25))
    groups = {group["weight_decay"]: {id(part) for part in group["params"]} for group in adam.param_groups}
    assert groups.keys() == {0.25, 0.0}
    assert groups[0.25] == {id(layer.weight) for layer in model.layers()}
    assert groups[0.25] | groups[0.0] == {id(part) for part in model.parameters()}
    assert not groups[0.25] & groups[0.0]
