"""The grid, the keys of its jobs, and what the table sums up to."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import ROOT

from bnnlib import params, sweep
from bnnlib.params import Params
from bnnlib.sweep import Job, Moment, Run, Spread, SweepError

BASE = params.load(ROOT / "params.yaml")
MANIFEST = {"images": "0" * 64}


def job(cfg: Params = BASE, **changes: Any) -> Job:
    values: dict[str, Any] = {"manifest": MANIFEST, "code": "c", **changes}
    return sweep.job(cfg, **values)


def grid(**axes: Any) -> list[Job]:
    return sweep.distinct(job(cfg) for cfg in sweep.variants(BASE, axes))


def changed(name: str, value: object, base: Params = BASE) -> Params:
    """The base with one parameter changed; the name is dotted."""
    content: dict[str, Any] = base.model_dump()
    section = content
    *path, last = name.split(".")
    for step in path:
        section = section[step]
    assert section[last] != value
    section[last] = value
    return params.parse(content, name)


def run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "dataset": "mnist",
        "bits": 1,
        "surrogate": "ste",
        "profile": "default",
        "seed": 0,
        "epoch": 3,
        "macro_f1": 0.5,
        "loss": 1.0,
        "accuracy": 0.5,
        "validation_macro_f1": 0.5,
        "validation_loss": 1.0,
        "weight_bytes": 6964,
        "key": "k",
    }
    return Run(**{**values, **changes})


def moment(key: str, epoch: int) -> Moment:
    return Moment(key=key, epoch=epoch, train_loss=1.0, validation_loss=1.0, validation_macro_f1=0.5, flip_ratio=None)


def test_values_of_an_option() -> None:
    assert sweep.values("0, 1,-2") == [0, 1, -2]
    assert sweep.values("ste,approx") == ["ste", "approx"]
    assert sweep.values("1_000,,1.0,true") == ["1_000", "", "1.0", "true"]  # left to the schema, which refuses them


def test_the_grid_is_the_product_and_surrogates_count_at_1_bit_only() -> None:
    found = [
        (each.training.variant, each.training.bits, each.surrogate, each.training.seed)
        for each in grid(seeds=[3, 4], bits=[1, 4, 16], surrogates=["ste", "approx"])
    ]
    assert sorted(found) == [
        ("binary", 1, "approx", 3),
        ("binary", 1, "approx", 4),
        ("binary", 1, "ste", 3),
        ("binary", 1, "ste", 4),
        ("binary", 4, "none", 3),
        ("binary", 4, "none", 4),
        ("full", 16, "none", 3),
        ("full", 16, "none", 4),
    ]


def test_each_width_has_its_recipe_and_all_jobs_one_thread_and_one_split() -> None:
    full, binary, wider = grid(bits=[16, 1, 4], seeds=[7])
    recipes = [each.training.recipe for each in (full, binary, wider)]
    assert recipes == [BASE.full, BASE.binary, BASE.multibit]
    assert {each.training.runtime.threads for each in (full, binary, wider)} == {1}
    assert {each.data.split_seed for each in (full, binary)} == {BASE.data.split_seed}
    assert str(full) == "mnist, 16 bits, seed 7"
    assert str(binary) == "mnist, 1 bit, ste, default, seed 7"


def test_the_profile_counts_at_1_bit_only_and_has_its_own_epochs() -> None:
    found = {
        (each.training.bits, each.profile): each.training for each in grid(bits=[1, 4], profiles=["default", "record"])
    }
    assert set(found) == {(1, "default"), (1, "record"), (4, "none")}
    long = found[1, "record"]
    assert long.train.epochs == BASE.record.epochs
    changes = {"rotation": BASE.record.rotation, "zoom": BASE.record.zoom}
    assert long.recipe == BASE.binary.model_copy(update=changes)


@pytest.mark.parametrize("name", ["rotation", "zoom"])
def test_the_profile_has_its_own_turns(name: str) -> None:
    long = job(changed(f"record.{name}", 1.5, changed("profile", "record")))
    assert long.training.recipe == BASE.binary.model_copy(update={name: 1.5})


def test_the_profile_of_its_own_epochs_goes_with_no_others() -> None:
    assert len(grid(profiles=["default"], epochs=[3])) == 1
    assert len(grid(profiles=["record"], bits=[16], epochs=[3])) == 1  # where it has no say
    with pytest.raises(SweepError, match=r"--epochs has no say in the profile record.*leave one of them out"):
        grid(profiles=["default", "record"], epochs=[3])


def test_repeated_values_are_one_job_and_no_axes_are_the_base() -> None:
    assert len(grid(seeds=[1, 1], bits=[1, 1])) == 1
    [only] = grid()
    assert (only.training.seed, only.training.bits) == (BASE.seed, BASE.model.bits)


def test_epochs_of_the_option_stay_below_the_bound_of_the_recipe() -> None:
    wide, full = BASE.multibit.max_epochs, BASE.full.max_epochs
    assert wide is not None
    assert full is not None
    asked = max(wide, full) + 9
    found = {each.training.bits: each.training.train.epochs for each in grid(bits=[1, 4, 16], epochs=[asked])}
    assert found == {1: asked, 4: wide, 16: full}


def test_all_faults_of_the_options_are_listed_at_once() -> None:
    with pytest.raises(SweepError) as caught:
        grid(seeds=[0, -1, "x"], bits=[3, 1], surrogates=["stee"], datasets=["digits"], epochs=[0])
    first, *faults = str(caught.value).splitlines()
    assert first == "the sweep's options: 6 faults"
    assert [fault.partition(" is not allowed; allowed: ")[0].strip() for fault in faults] == [
        "--seeds: seed: -1",
        "--seeds: seed: 'x'",
        "--bits: model.bits: 3",
        "--surrogates: binary.surrogate: 'stee'",
        "--datasets: data.name: 'digits'",
        "--epochs: train.epochs: 0",
    ]
    assert all(fault.partition("; allowed: ")[2] for fault in faults)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("model.bits", 2),
        ("binary.surrogate", "approx"),
        ("binary.latent_clip", 0.5),
        ("binary.learning_rate", 0.001),
        ("train.epochs", 3),
        ("binary.batch_size", 50),
        ("data.limit", 300),
        ("data.validation_fraction", 0.3),
        ("data.split_seed", 1),
        ("runtime.device", "cuda"),
        ("profile", "record"),
    ],
)
def test_what_changes_the_results_changes_the_key(name: str, value: object) -> None:
    assert job(changed(name, value)).key != job().key


def test_the_key_at_four_bits_is_that_of_its_own_recipe() -> None:
    four = changed("model.bits", 4)
    assert job(changed("multibit.learning_rate", 0.5, four)).key != job(four).key
    assert job(changed("binary.learning_rate", 0.5, four)).key == job(four).key


@pytest.mark.parametrize("change", [{"manifest": {"images": "1" * 64}}, {"code": "d"}])
def test_data_and_code_change_the_key(change: dict[str, Any]) -> None:
    assert job(**change).key != job().key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("runtime.threads", 7),
        ("full.learning_rate", 0.5),
        ("multibit.learning_rate", 0.5),
        ("thresholds.mnist.full.loss", 9.0),
        ("record.epochs", 9),
    ],
)
def test_what_has_no_say_in_the_results_keeps_the_key(name: str, value: object) -> None:
    assert job(changed(name, value)).key == job().key


def test_tables_are_in_the_order_of_the_grid() -> None:
    runs = [
        run(key="z", bits=1, seed=10),
        run(key="y", bits=16, surrogate="none", profile="none"),
        run(key="x", bits=1, seed=9),
        run(key="w", bits=1, surrogate="approx"),
    ]
    moments = [moment("y", 1), moment("x", 10), moment("x", 9), moment("w", 1)]
    table, epochs = sweep.ordered(runs, moments)
    assert [each.key for each in table] == ["w", "x", "z", "y"]
    assert [(each.key, each.epoch) for each in epochs] == [("w", 1), ("x", 9), ("x", 10), ("y", 1)]


def test_mean_and_sample_standard_deviation() -> None:
    """Of 0.5, 0.75, 1.0: mean 0.75, squares of deviations 1/16 + 0 + 1/16 = 1/8, over n - 1 = 2: 1/16, root 1/4."""
    runs = [run(seed=seed, macro_f1=value, loss=4 * value) for seed, value in enumerate((0.75, 1.0, 0.5))]
    [found] = sweep.aggregate(runs)
    assert (found.group, found.n) == (("mnist", 1, "ste", "default"), 3)
    assert found.scores["macro_f1"] == Spread(0.75, 0.25)
    assert found.scores["loss"] == Spread(3.0, 1.0)
    assert found.scores["validation_loss"] == Spread(1.0, 0.0)


def test_aggregates_keep_groups_apart_and_one_run_has_no_deviation() -> None:
    runs = [
        run(bits=16, surrogate="none", profile="none", loss=2.0),
        run(seed=1),
        run(seed=0),
        run(surrogate="approx", loss=3.0),
        run(profile="record", loss=4.0),
    ]
    found = sweep.aggregate(runs)
    assert [(*each.group[1:], each.n) for each in found] == [
        (1, "approx", "default", 1),
        (1, "ste", "default", 2),
        (1, "ste", "record", 1),
        (16, "none", "none", 1),
    ]
    losses = [each.scores["loss"] for each in found]
    assert losses == [Spread(3.0, None), Spread(1.0, 0.0), Spread(4.0, None), Spread(2.0, None)]


def test_an_empty_table_sums_up_to_nothing() -> None:
    assert sweep.aggregate([]) == []
