"""The grid, the keys of its jobs, and the means over the seeds."""

from __future__ import annotations

from typing import Any

import pytest
from support.paths import ROOT
from support.sweeps import moment, run

from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.sweeps import grid, results
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.results import Spread

BASE = params.load(ROOT / "params.yaml")
MANIFEST = {"images": "0" * 64}


def job(cfg: Params = BASE, **changes: Any) -> Job:
    values: dict[str, Any] = {"manifest": MANIFEST, "code": "c", **changes}
    return grid.job(cfg, **values)


def jobs_of(**axes: Any) -> list[Job]:
    return grid.distinct(job(cfg) for cfg in grid.variants(BASE, axes))


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


def test_values_of_an_option() -> None:
    assert grid.values("0, 1,-2") == [0, 1, -2]
    assert grid.values("ste,approx") == ["ste", "approx"]
    assert grid.values("1_000,,1.0,true") == ["1_000", "", "1.0", "true"]  # the schema refuses them


def test_the_grid_is_the_product_and_surrogates_count_at_1_bit_only() -> None:
    found = [
        (each.training.variant, each.training.bits, each.surrogate, each.training.seed)
        for each in jobs_of(seeds=[3, 4], bits=[1, 4, 16], surrogates=["ste", "approx"])
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
    full, binary, wider = jobs_of(bits=[16, 1, 4], seeds=[7])
    recipes = [each.training.recipe for each in (full, binary, wider)]
    assert recipes == [each.of("mnist") for each in (BASE.full, BASE.binary, BASE.multibit)]
    assert {each.training.runtime.threads for each in (full, binary, wider)} == {1}
    assert {each.data.split_seed for each in (full, binary)} == {BASE.data.split_seed}
    assert str(full) == "mnist, pooled, 16 bits, seed 7"
    assert str(binary) == "mnist, pooled, 1 bit, ste, seed 7"


def test_a_job_and_its_row_have_the_same_name() -> None:
    assert str(run(seed=7)) == str(jobs_of(bits=[1], seeds=[7])[0])
    assert str(run(bits=16, surrogate="none")) == str(jobs_of(bits=[16], seeds=[0])[0])


def test_each_topology_is_a_job_with_its_own_sizes_and_the_same_recipe() -> None:
    found = jobs_of(topologies=["pooled", "baseline"], bits=[1, 16])
    assert sorted((each.training.bits, each.topology) for each in found) == [
        (1, "baseline"),
        (1, "pooled"),
        (16, "baseline"),
        (16, "pooled"),
    ]
    for each in found:
        named = BASE.topologies[each.topology]
        assert each.training.topology.blocks == named.blocks
        assert each.training.topology.input == (named.input.mnist if each.training.bits == 1 else ())
        assert each.training.recipe == (BASE.binary if each.training.bits == 1 else BASE.full).of("mnist")


def test_the_input_of_a_topology_is_that_of_the_data_set() -> None:
    found = jobs_of(topologies=["pooled", "baseline"], datasets=["mnist", "fashion_mnist"], bits=[1])
    for each in found:
        assert each.training.topology.input == getattr(BASE.topologies[each.topology].input, each.data.name)
    assert len(found) == 4


def test_repeated_values_are_one_job_and_no_axes_are_the_base() -> None:
    assert len(jobs_of(seeds=[1, 1], bits=[1, 1])) == 1
    [only] = jobs_of()
    assert (only.training.seed, only.training.bits) == (BASE.seed, BASE.model.bits)


def test_the_option_epochs_applies_to_every_recipe() -> None:
    asked = 9_999
    found = jobs_of(bits=[1, 4, 16], epochs=[asked])
    assert {each.training.bits: each.training.recipe.epochs for each in found} == dict.fromkeys([1, 4, 16], asked)
    assert {each.training.bits: each.training.recipe.epochs for each in jobs_of(bits=[1, 4, 16])} == {
        1: BASE.binary.epochs,
        4: BASE.multibit.epochs,
        16: BASE.full.epochs,
    }


def test_all_errors_of_the_options_are_listed_at_once() -> None:
    with pytest.raises(SweepError) as caught:
        jobs_of(
            seeds=[0, -1, "x"],
            bits=[3, 1],
            surrogates=["stee"],
            topologies=["pooled", "poled", 5],
            datasets=["digits"],
            epochs=[0],
        )
    first, *errors = str(caught.value).splitlines()
    assert first == "the sweep's options: 8 errors"
    assert [error.partition(" is not allowed; allowed: ")[0].strip() for error in errors] == [
        "--seeds: seed: -1",
        "--seeds: seed: 'x'",
        "--bits: model.bits: 3",
        "--surrogates: binary.quantizer.surrogate: 'stee'",
        "--topologies: model.topology: 'poled'",
        "--topologies: model.topology: 5",
        "--datasets: data.name: 'digits'",
        "--epochs: full.epochs: 0",  # and the same of the other recipes
    ]
    assert all(error.partition("; allowed: ")[2] for error in errors)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("model.bits", 2),
        ("binary.quantizer.surrogate", "approx"),
        ("binary.latent_clip", 0.5),
        ("binary.optimizer.rate", 0.001),
        ("binary.epochs", 3),
        ("train.norm_images", None),
        ("binary.batch_size", 50),
        ("data.limit", 300),
        ("data.validation_fraction", 0.3),
        ("data.split_seed", 1),
        ("runtime.device", "cuda"),
        ("model.passes", ()),
        ("model.topology", "baseline"),
        ("topologies.pooled.input.mnist", (34, 64)),
        ("topologies.pooled.blocks", BASE.topologies["pooled"].model_dump()["blocks"][:2]),
    ],
)
def test_what_changes_the_results_changes_the_key(name: str, value: object) -> None:
    assert job(changed(name, value)).key != job().key


def test_the_key_at_four_bits_is_that_of_its_own_recipe() -> None:
    four = changed("model.bits", 4)
    assert job(changed("multibit.optimizer.rate", 0.5, four)).key != job(four).key
    assert job(changed("binary.optimizer.rate", 0.5, four)).key == job(four).key
    assert job(changed("model.passes", (), four)).key == job(four).key


@pytest.mark.parametrize("change", [{"manifest": {"images": "1" * 64}}, {"code": "d"}])
def test_data_and_code_change_the_key(change: dict[str, Any]) -> None:
    assert job(**change).key != job().key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("runtime.threads", 7),
        ("full.optimizer.rate", 0.5),
        ("multibit.optimizer.rate", 0.5),
        ("thresholds.mnist.full.loss", 9.0),
        ("full.epochs", 9),
        ("topologies.pooled.input.kmnist", (1,)),
        ("topologies.baseline.blocks", ()),
    ],
)
def test_what_does_not_change_the_results_keeps_the_key(name: str, value: object) -> None:
    assert job(changed(name, value)).key == job().key


def test_tables_are_in_the_order_of_the_grid() -> None:
    runs = [
        run(key="z", bits=1, seed=10),
        run(key="y", bits=16, surrogate="none"),
        run(key="x", bits=1, seed=9),
        run(key="w", bits=1, surrogate="approx"),
        run(key="v", bits=16, surrogate="none", topology="baseline"),
    ]
    moments = [moment("y", 1), moment("x", 10), moment("x", 9), moment("w", 1), moment("v", 1)]
    table, epochs = results.ordered(runs, moments)
    assert [each.key for each in table] == ["v", "w", "x", "z", "y"]
    assert [(each.key, each.epoch) for each in epochs] == [("v", 1), ("w", 1), ("x", 9), ("x", 10), ("y", 1)]


def test_mean_and_sample_standard_deviation() -> None:
    """Of 0.5, 0.75, 1.0: mean 0.75, squares of deviations 1/16 + 0 + 1/16 = 1/8, over n - 1 = 2: 1/16, root 1/4."""
    runs = [run(seed=seed, macro_f1=value, loss=4 * value) for seed, value in enumerate((0.75, 1.0, 0.5))]
    [found] = results.aggregate(runs)
    assert (found.group, found.n) == (("mnist", "pooled", 1, "ste"), 3)
    assert found.scores["macro_f1"] == Spread(0.75, 0.25)
    assert found.scores["loss"] == Spread(3.0, 1.0)
    assert found.scores["validation_loss"] == Spread(1.0, 0.0)


def test_aggregates_keep_groups_apart_and_one_run_has_no_deviation() -> None:
    runs = [
        run(bits=16, surrogate="none", loss=2.0),
        run(seed=1),
        run(seed=0),
        run(surrogate="approx", loss=3.0),
        run(topology="large", loss=4.0),
    ]
    found = results.aggregate(runs)
    assert [(*each.group[1:], each.n) for each in found] == [
        ("large", 1, "ste", 1),
        ("pooled", 1, "approx", 1),
        ("pooled", 1, "ste", 2),
        ("pooled", 16, "none", 1),
    ]
    losses = [each.scores["loss"] for each in found]
    assert losses == [Spread(4.0, None), Spread(3.0, None), Spread(1.0, 0.0), Spread(2.0, None)]


def test_scores_that_a_run_lacks_have_no_mean() -> None:
    both = [run(seed=seed, passes_macro_f1=score, passes_loss=1.0) for seed, score in enumerate((0.5, 1.0))]
    assert results.aggregate(both)[0].scores["passes_macro_f1"].mean == 0.75
    [found] = results.aggregate([*both, run(seed=2)])
    assert "passes_macro_f1" not in found.scores
    assert found.scores["macro_f1"] == Spread(0.5, 0.0)


def test_an_empty_table_has_no_means() -> None:
    assert results.aggregate([]) == []
