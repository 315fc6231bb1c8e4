"""What a training gets from params.yaml: the recipe of its width, its optimizer and its quantizer."""

from __future__ import annotations

from typing import Any

import pytest
from support.parameters import GOOD, MIRRORED, MISSING, changed, errors

from bnnlib.config import params, spec

ADAM = {"name": "adam", "rate": 0.005, "weight_decay": 0.0}
MUON = {"name": "muon", "rate": 0.03, "adam_rate": 0.005, "weight_decay": 0.0}


CHOICES: list[tuple[str, Any, str]] = [
    ("full.optimizer", "adam", "full.optimizer: 'adam' is not allowed; allowed: a section with name adam, muon"),
    ("full.optimizer", MISSING, "full.optimizer: missing; allowed: a section with name adam, muon"),
    ("full.optimizer.name", "bop", "full.optimizer.name: 'bop' is not allowed; allowed: adam, muon"),
    ("multibit.optimizer.name", "bop", "multibit.optimizer.name: 'bop' is not allowed; allowed: adam, muon"),
    ("full.optimizer.name", None, "full.optimizer.name: None is not allowed; allowed: adam, muon"),
    ("full.optimizer.name", MISSING, "full.optimizer.name: missing; allowed: adam, muon"),
    ("binary.optimizer.name", "sgd", "binary.optimizer.name: 'sgd' is not allowed; allowed: adam, muon, bop"),
    ("binary.optimizer.threshold", MISSING, "binary.optimizer.threshold: missing; allowed: a number from 0 to 1"),
    ("binary.optimizer.rate", "x", "binary.optimizer.rate: 'x' is not allowed; allowed: a number above 0 to 1"),
    (
        "full.optimizer.name",
        "adam",
        "full.optimizer.adam_rate: not a parameter of adam; `-S '~full.optimizer.adam_rate'` removes it",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), CHOICES)
def test_an_impossible_choice_of_optimizer_is_named(name: str, value: Any, message: str) -> None:
    assert errors(changed((name, value))) == [message]


@pytest.mark.parametrize(
    ("variant", "bits", "width", "clip", "section"),
    [
        ("full", 1, 16, None, "full"),
        ("binary", 1, 1, 1.0, "binary"),
        ("binary", 4, 4, None, "multibit"),
        ("binary", 16, 16, None, "multibit"),
    ],
)
def test_training_of_a_variant(variant: spec.Variant, bits: int, width: int, clip: float | None, section: str) -> None:
    content = changed(("model.bits", bits), ("binary.optimizer", ADAM))
    training = params.parse(content, "params.yaml").training(variant)
    assert (training.variant, training.bits, training.latent_clip, training.seed) == (variant, width, clip, 7)
    augmentation = content[section]["augmentation"]["mnist"]
    assert training.recipe.model_dump() == {
        **{name: content[section][name] for name in ("epochs", "batch_size", "optimizer")},
        "augmentation": augmentation,
    }


@pytest.mark.parametrize("variant", ["full", "binary"])
def test_each_data_set_has_its_augmentation(variant: spec.Variant) -> None:
    loaded = params.parse(changed(("data.name", "fashion_mnist")), "params.yaml")
    assert loaded.training(variant).recipe.augmentation == spec.Augmentation(**MIRRORED)
    logged = [name for name in loaded.of_training(variant) if ".augmentation." in name]
    assert logged == [f"{variant}.augmentation.fashion_mnist.{name}" for name in MIRRORED]


def test_bop_has_no_latent_clip() -> None:
    training = params.parse(GOOD, "params.yaml").training("binary")
    assert isinstance(training.recipe.optimizer, spec.Bop)
    assert training.latent_clip is None


def test_weight_decay_may_be_omitted() -> None:
    loaded = params.parse(changed(("full.optimizer.weight_decay", MISSING)), "params.yaml")
    assert loaded.model_dump()["full"]["optimizer"]["weight_decay"] == 0


@pytest.mark.parametrize(("bits", "learned"), [(1, False), (2, True), (8, True), (16, False), (32, False)])
def test_a_learned_step_is_for_two_to_eight_bits(bits: int, learned: bool) -> None:
    training = params.parse(changed(("model.bits", bits)), "params.yaml").training("binary")
    assert training.quantization.learned_step == learned


@pytest.mark.parametrize(("bits", "share"), [(1, 0.25), (2, 0.0), (16, 0.0)])
def test_the_first_stage_is_for_one_bit(bits: int, share: float) -> None:
    content = changed(("model.bits", bits), ("binary.optimizer", MUON), ("binary.quantizer.real_share", 0.25))
    assert params.parse(content, "params.yaml").training("binary").quantization.real_share == share


@pytest.mark.parametrize(("name", "value"), [("channel_scale", True), ("real_share", 0.5)])
def test_bop_is_refused_with_what_needs_latent_weights(name: str, value: object) -> None:
    [error] = errors(changed((f"binary.quantizer.{name}", value)))
    assert error.startswith("binary.optimizer.name: 'bop' is not allowed here")
    assert f"quantizer.{name}" in error
