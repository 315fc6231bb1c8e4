"""The optimizers: steps of Bop and Muon worked out by hand, and which parameters each one updates."""

from __future__ import annotations

import pytest
import torch
from support import topologies

from bnnlib.config import spec
from bnnlib.config.spec import Adam, Augmentation, Optimizer, Quantization, Recipe
from bnnlib.nn.convnet import ConvNet
from bnnlib.training import optimizers
from bnnlib.training.optimizers import Bop, Muon

OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Adam(name="adam", rate=0.06),
    "muon": spec.Muon(name="muon", rate=0.03, adam_rate=0.06),
    "bop": spec.Bop(name="bop", rate=0.001, threshold=0.000001, adam_rate=0.06),
}


def recipe_of(optimizer: Optimizer) -> Recipe:
    return Recipe(epochs=2, batch_size=32, augmentation=Augmentation(), optimizer=optimizer)


def test_bop_by_hand() -> None:
    # Averages 0.5 g after the first step; a flip where abs > 0.1 and the signs are the same.
    weight = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.3, 0.0])
    weight.grad = torch.tensor([0.4, -0.4, -0.4, 0.4, 0.2, 0.4])
    optimizer = Bop([weight], lr=0.5, threshold=0.1)
    optimizer.step()
    assert weight.tolist() == torch.tensor([-0.3, 0.3, 0.3, -0.3, 0.3, 0.0]).tolist()
    # 0.25 g + 0.5 g: the fifth is above the threshold now; the first is negative already, as its average asks.
    optimizer.step()
    assert weight.tolist() == torch.tensor([-0.3, 0.3, 0.3, -0.3, -0.3, 0.0]).tolist()


def test_bop_does_not_change_what_has_no_gradient() -> None:
    weight = torch.tensor([0.3])
    Bop([weight], lr=0.5, threshold=0.0).step()
    assert weight.tolist() == torch.tensor([0.3]).tolist()


def test_a_step_of_muon_by_hand() -> None:
    # B = 0.05 g after the first step; 0.95 * 0.05 g + 0.05 g is made orthogonal. A matrix whose singular values are all
    # the same only loses their size; the iteration leaves each between 0.7 and 1.2.
    weight = torch.zeros(2, 3, 1, 1)
    weight.grad = torch.tensor([[0.0, 5.0, 0.0], [-5.0, 0.0, 0.0]])[..., None, None]
    Muon([weight], lr=0.1, weight_decay=0.0).step()
    size = -weight[0, 1].item() / (0.1 * 3**0.5)  # the longer side is 3
    assert 0.7 < size < 1.2
    expected = -0.1 * 3**0.5 * size * weight.grad / 5
    torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)


def test_muon_follows_an_average_of_the_gradients() -> None:
    weight, first, second = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
    weight.grad = first
    optimizer.step()
    before = weight.clone()
    weight.grad = second
    optimizer.step()
    # B = 0.95 * 0.05 first + 0.05 second; then 0.95 B + 0.05 second, whose parts have this ratio.
    change = weight - before
    assert (change[0, 0] / change[0, 1]).item() == pytest.approx(0.95**2 * 0.05 / (0.95 * 0.05 + 0.05), rel=1e-4)


def test_singular_values_come_near_one() -> None:
    matrix = torch.randn(16, 200, generator=torch.Generator().manual_seed(0)) * torch.logspace(-1, 1, 16)[:, None]
    values = torch.linalg.svdvals(optimizers.orthogonal(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert torch.linalg.svdvals(matrix).max() > 50 * torch.linalg.svdvals(matrix).min()


def test_muons_weight_decay_is_a_share_of_the_weight() -> None:
    weights = []
    for decay in (0.0, 0.5):
        weight = torch.ones(2, 2)
        weight.grad = torch.eye(2)
        Muon([weight], lr=0.1, weight_decay=decay).step()
        weights.append(weight)
    torch.testing.assert_close(weights[0] - weights[1], torch.full((2, 2), 0.1 * 0.5))


def test_muon_does_not_change_what_has_no_gradient() -> None:
    weight = torch.ones(2, 2)
    Muon([weight], lr=0.5, weight_decay=0.5).step()
    assert weight.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("optimizer", [Bop([torch.ones(1)], 0.5, 0.0), Muon([torch.ones(1, 1)], 0.5, 0.0)])
def test_neither_takes_a_closure(optimizer: torch.optim.Optimizer) -> None:
    with pytest.raises(NotImplementedError, match="closure"):
        optimizer.step(lambda: 0.0)


def updated(optimizer: Optimizer) -> set[str]:
    """The parameters that one step changes."""
    torch.manual_seed(0)
    model = ConvNet(topologies.SMALL, Quantization(bits=1)).train()
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    for part in model.parameters():
        part.grad = part.detach().clone() + 1
    for each in optimizers.build(model, recipe_of(optimizer)):
        each.step()
    return {name for name, part in model.named_parameters() if not torch.equal(part, before[name])}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_is_updated(optimizer: str) -> None:
    names = {name for name, _ in ConvNet(topologies.SMALL, Quantization(bits=1)).named_parameters()}
    assert updated(OPTIMIZERS[optimizer]) == names


def test_bop_changes_only_signs() -> None:
    model = ConvNet(topologies.SMALL, Quantization(bits=1)).train()
    before = model.head.weight.detach().clone()
    for part in model.parameters():
        part.grad = torch.ones_like(part)
    for optimizer in optimizers.build(model, recipe_of(OPTIMIZERS["bop"])):
        optimizer.step()
    assert torch.equal(model.head.weight.abs(), before.abs())
    assert not torch.equal(model.head.weight, before)


@pytest.mark.parametrize("optimizer", ["muon", "bop"])
def test_the_schedule_ends_near_zero_for_both_optimizers(optimizer: str) -> None:
    model = ConvNet(topologies.SMALL, Quantization(bits=1))
    for each in optimizers.build(model, recipe_of(OPTIMIZERS[optimizer])):
        peak = each.param_groups[0]["lr"]
        schedule = optimizers.schedule(each, epochs=2, steps=5)
        rates = [schedule.get_last_lr()[0]]
        for _ in range(9):
            each.step()
            schedule.step()
            rates.append(schedule.get_last_lr()[0])
        assert rates[0] == pytest.approx(peak / 25)
        assert max(rates) == pytest.approx(peak)
        assert rates[-1] < peak / 1000


def test_weight_decay_does_not_apply_to_batch_norm() -> None:
    model = ConvNet(topologies.SMALL, Quantization(bits=1))
    (adam,) = optimizers.build(model, recipe_of(Adam(name="adam", rate=0.06, weight_decay=0.25)))
    groups = {group["weight_decay"]: {id(part) for part in group["params"]} for group in adam.param_groups}
    assert groups.keys() == {0.25, 0.0}
    assert groups[0.25] == {id(layer.weight) for layer in model.layers()}
    assert groups[0.25] | groups[0.0] == {id(part) for part in model.parameters()}
    assert not groups[0.25] & groups[0.0]
