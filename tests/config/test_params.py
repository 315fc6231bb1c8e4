"""Every kind of fault in params.yaml is named, and all of them at once."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from bnnlib.config import params
from bnnlib.config.params import ParamsError

COMMITTED = ROOT / "params.yaml"
GOOD: dict[str, Any] = {
    "seed": 7,
    "runtime": {"device": "cpu", "threads": 2},
    "data": {"name": "mnist", "split_seed": 5, "validation_fraction": 0.2, "limit": None},
    "topologies": {
        "mine": {
            "input": {"mnist": (100,), "fashion_mnist": (1, 255), "kmnist": (34, 64, 128)},
            "blocks": (
                {"channels": 1024, "kernel": 5, "pool": 2},
                {"channels": 1, "kernel": 12, "pool": 1},
            ),
        },
        "other": {"input": {"mnist": (1,), "fashion_mnist": (1,), "kmnist": (1,)}, "blocks": ()},
    },
    "model": {"bits": 1, "topology": "mine"},
    "train": {"norm_images": None},
    "full": {
        "epochs": 2,
        "learning_rate": 0.003,
        "batch_size": 60,
        "weight_decay": 0.0001,
        "shift": 2,
        "shift_share": 0.5,
        "contrast": 1.0,
        "rotation": 10.0,
        "zoom": 1.25,
        "optimizer": "muon",
        "muon_rate": 0.02,
    },
    "binary": {
        "epochs": 3,
        "learning_rate": 0.005,
        "batch_size": 50,
        "weight_decay": 0.0,
        "shift": 0,
        "shift_share": 1.0,
        "contrast": 2.0,
        "rotation": 10.0,
        "zoom": 1.25,
        "surrogate": "ste",
        "channel_scale": False,
        "real_share": 0.0,
        "latent_clip": 1.0,
        "optimizer": "bop",
        "muon_rate": 0.03,
        "bop_rate": 0.01,
        "bop_threshold": 0.0,
    },
    "multibit": {
        "epochs": 4,
        "learning_rate": 0.004,
        "batch_size": 40,
        "weight_decay": 0.0,
        "shift": 1,
        "shift_share": 1.0,
        "contrast": 1.0,
        "rotation": 10.0,
        "zoom": 1.25,
        "optimizer": "adam",
        "muon_rate": 0.04,
        "learned_step": True,
    },
    "thresholds": {
        "mnist": {"full": {"macro_f1": 0.99, "loss": 0.02}, "binary": {"macro_f1": 0.98, "loss": 0.05}},
        "fashion_mnist": None,
        "kmnist": None,
    },
}
MISSING = object()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The good parameters with some replaced, added or taken away; names are dotted."""
    content = deepcopy(GOOD)
    for name, value in changes:
        *path, last = name.split(".")
        section = content
        for step in path:
            section = section[step]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return content


def faults(content: object) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        params.parse(content, "params.yaml")
    first, *rest = str(caught.value).splitlines()
    assert first == f"params.yaml: {len(rest)} fault{'s' if len(rest) > 1 else ''}"
    assert all(line.startswith("  ") for line in rest)
    return [line.strip() for line in rest]


def test_the_committed_file_loads() -> None:
    loaded = params.load(COMMITTED)
    assert loaded.training("full").bits == 16
    assert loaded.training("binary").bits == loaded.model.bits


def test_the_good_parameters_are_good() -> None:
    assert params.parse(GOOD, "params.yaml").model_dump() == GOOD


@pytest.mark.parametrize(("name", "thresholds"), GOOD["topologies"]["mine"]["input"].items())
def test_the_input_thresholds_are_those_of_the_data_set(name: str, thresholds: tuple[int, ...]) -> None:
    loaded = params.parse(changed(("data.name", name)), "params.yaml")
    assert loaded.training("binary").topology.input == thresholds
    assert loaded.training("full").topology.input == ()  # so that they retrain no wider network


@pytest.mark.parametrize(("name", "channels"), [("mine", [1024, 1]), ("other", [])])
def test_the_topology_is_that_of_the_model(name: str, channels: list[int]) -> None:
    loaded = params.parse(changed(("model.topology", name)), "params.yaml")
    for variant in ("full", "binary"):
        assert [block.channels for block in loaded.training(variant).topology.blocks] == channels


def block(**sizes: Any) -> dict[str, Any]:
    return {"channels": 4, "kernel": 5, "pool": 2, **sizes}


def test_lists_of_yaml_are_topologies_too() -> None:
    content = changed(("topologies.mine.blocks", [block()]), ("topologies.mine.input.mnist", [3, 4]))
    assert params.parse(content, "params.yaml").training("binary").topology.input == (3, 4)


MINE = "topologies.mine"
PIXELS = "a list of 1 to 64, each item a whole number from 1 to 255"
MISFITS: list[tuple[str, Any, str]] = [
    ("model.topology", "pool", "model.topology: 'pool' is not allowed; allowed: mine, other (the section topologies)"),
    ("model.topology", 3, "model.topology: 3 is not allowed; allowed: a name"),
    ("topologies", {}, "topologies: {} is not allowed; allowed: a section whose names are yours, each a section with"),
    ("topologies.x", 3, "topologies.x: 3 is not allowed; allowed: a section with input, blocks"),
    (f"{MINE}.input.mnist", [], f"{MINE}.input.mnist: [] is not allowed; allowed: {PIXELS}"),
    (f"{MINE}.input.mnist", 64, f"{MINE}.input.mnist: 64 is not allowed; allowed: {PIXELS}"),
    (f"{MINE}.input.mnist", [0, 9], f"{MINE}.input.mnist[0]: 0 is not allowed; allowed: a whole number from 1 to 255"),
    (f"{MINE}.input.mnist", [9, True], f"{MINE}.input.mnist[1]: True is not allowed; allowed: a whole number"),
    (f"{MINE}.input.mnist", list(range(1, 66)), f"{MINE}.input.mnist: ["),
    (f"{MINE}.input.mnist", [9, 9], f"{MINE}.input.mnist: [9, 9] do not rise; allowed: pixel values in rising order"),
    (f"{MINE}.blocks", [block(pol=1)], f"{MINE}.blocks[0].pol: unknown parameter; did you mean pool?"),
    (
        f"{MINE}.blocks",
        [block(channels=0)],
        f"{MINE}.blocks[0].channels: 0 is not allowed; allowed: a whole number from 1",
    ),
    (
        f"{MINE}.blocks",
        [block(channels=1025)],
        f"{MINE}.blocks[0].channels: 1025 is not allowed; allowed: a whole number",
    ),
    (
        f"{MINE}.blocks",
        [block(kernel="3")],
        f"{MINE}.blocks[0].kernel: '3' is not allowed; allowed: a whole number from 1",
    ),
    (
        f"{MINE}.blocks",
        [block(kernel=29)],
        f"{MINE}.blocks[0].kernel: 29 is not allowed; allowed: a whole number from 1 to 28",
    ),
    (f"{MINE}.blocks", [block(kernel=1, pool=1)] * 17, f"{MINE}.blocks: ["),
    (
        f"{MINE}.blocks",
        [block(), block(), block(kernel=5)],
        f"{MINE}.blocks: block 3 of the list: a kernel of 5 on a map of 4 x 4 "
        "(28 - 5 + 1 = 24, then 24 // 2 = 12, then 12 - 5 + 1 = 8, then 8 // 2 = 4); allowed: 1 to 4",
    ),
    (
        f"{MINE}.blocks",
        [block(kernel=20, pool=10)],
        f"{MINE}.blocks: block 1 of the list: pooling by 10 on a map of 9 x 9 (28 - 20 + 1 = 9); allowed: 1 to 9",
    ),
    (
        f"{MINE}.blocks",
        [block(kernel=28, pool=2)],
        f"{MINE}.blocks: block 1 of the list: pooling by 2 on a map of 1 x 1",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), MISFITS)
def test_a_topology_that_cannot_be_is_named_with_its_arithmetic(name: str, value: Any, message: str) -> None:
    [fault] = faults(changed((name, value)))
    assert fault.startswith(message)


@pytest.mark.parametrize("name", [3, "a.b", "a,b", "", "3x"])
def test_a_topology_whose_name_no_option_can_spell_is_refused(name: object) -> None:
    [fault] = faults(changed(("topologies", {**GOOD["topologies"], name: GOOD["topologies"]["other"]})))
    assert fault.startswith(
        f"the name {name} in topologies: {name!r} is not allowed; allowed: a name of letters, digits"
    )


@pytest.mark.parametrize("sizes", [{"kernel": 28, "pool": 1}, {"kernel": 1, "pool": 28}, {"kernel": 3, "pool": 26}])
def test_the_largest_kernels_and_pools_are_allowed(sizes: dict[str, int]) -> None:
    loaded = params.parse(changed((f"{MINE}.blocks", [block(**sizes)])), "params.yaml")
    assert loaded.topology(1).layers(1)[-1].in_side == 1


THREADS = "a whole number from 1 to 256"
RATE = "a number above 0 to 1"
LIMIT = "a whole number from 200 to 60000, or null"
TEXT = " (this is text: write the number without quotes)"
RECIPE = "epochs, learning_rate, batch_size, weight_decay, shift, shift_share, contrast, rotation, zoom, "
RECIPE += "optimizer, muon_rate"
NORM_IMAGES = "a whole number from 100 to 60000, or null"
ONE_FAULT: list[tuple[str, Any, str]] = [
    ("full.epoch", 3, "full.epoch: unknown parameter; did you mean epochs?"),
    ("train.zzz", 3, "train.zzz: unknown parameter; known here: norm_images"),
    ("thresholds.mnist.full.los", 3, "thresholds.mnist.full.los: unknown parameter; did you mean loss?"),
    ("thresholds.mnist.full.loss", 0, "thresholds.mnist.full.loss: 0 is not allowed; allowed: a number above 0 to 100"),
    ("thresholds.mnist.all", 1, "thresholds.mnist.all: unknown parameter; known here: full, binary"),
    ("thresholds.kmnist", 0.9, "thresholds.kmnist: 0.9 is not allowed; allowed: a section with full, binary, or null"),
    ("thresholds.kmnist", MISSING, "thresholds.kmnist: missing; allowed: a section with full, binary, or null"),
    ("thresholds.mnst", None, "thresholds.mnst: unknown parameter; did you mean mnist?"),
    ("full.latent_clip", 1.0, f"full.latent_clip: unknown parameter; known here: {RECIPE}"),
    ("train.norm_images", 99, f"train.norm_images: 99 is not allowed; allowed: {NORM_IMAGES}"),
    ("train.norm_images", 60_001, f"train.norm_images: 60001 is not allowed; allowed: {NORM_IMAGES}"),
    ("multibit.shift", 9, "multibit.shift: 9 is not allowed; allowed: a whole number from 0 to 8"),
    ("multibit", MISSING, f"multibit: missing; allowed: a section with {RECIPE}, learned_step"),
    ("runtimes", {}, "runtimes: unknown parameter; did you mean runtime?"),
    ("seed", MISSING, "seed: missing; allowed: a whole number from 0 below 4294967296"),
    ("data.limit", MISSING, f"data.limit: missing; allowed: {LIMIT}"),
    ("train", MISSING, "train: missing; allowed: a section with norm_images"),
    ("train", None, "train: None is not allowed; allowed: a section with norm_images"),
    ("train", [3, 100], "train: [3, 100] is not allowed; allowed: a section with norm_images"),
    ("seed", -1, "seed: -1 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", 2**32, "seed: 4294967296 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", True, "seed: True is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("seed", 1.0, "seed: 1.0 is not allowed; allowed: a whole number from 0 below 4294967296"),
    ("runtime.threads", 0, f"runtime.threads: 0 is not allowed; allowed: {THREADS}"),
    ("runtime.threads", 257, f"runtime.threads: 257 is not allowed; allowed: {THREADS}"),
    ("runtime.threads", None, f"runtime.threads: None is not allowed; allowed: {THREADS}"),
    ("runtime.threads", "2", f"runtime.threads: '2' is not allowed; allowed: {THREADS}{TEXT}"),
    ("runtime.threads", "two", f"runtime.threads: 'two' is not allowed; allowed: {THREADS}"),
    ("runtime.device", "gpu", "runtime.device: 'gpu' is not allowed; allowed: cpu, cuda"),
    ("data.name", "fashion", "data.name: 'fashion' is not allowed; allowed: mnist, fashion_mnist, kmnist"),
    ("data.limit", 199, f"data.limit: 199 is not allowed; allowed: {LIMIT}"),
    ("data.limit", "500", f"data.limit: '500' is not allowed; allowed: {LIMIT}{TEXT}"),
    ("model.bits", 3, "model.bits: 3 is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("model.bits", "banana", "model.bits: 'banana' is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("model.bits", True, "model.bits: True is not allowed; allowed: 1, 2, 4, 8, 16, 32"),
    ("full.learning_rate", 0, f"full.learning_rate: 0 is not allowed; allowed: {RATE}"),
    ("full.learning_rate", 1.1, f"full.learning_rate: 1.1 is not allowed; allowed: {RATE}"),
    ("full.learning_rate", math.nan, f"full.learning_rate: nan is not allowed; allowed: {RATE}"),
    ("full.learning_rate", math.inf, f"full.learning_rate: inf is not allowed; allowed: {RATE}"),
    ("full.learning_rate", True, f"full.learning_rate: True is not allowed; allowed: {RATE}"),
    ("full.learning_rate", "1e-06", f"full.learning_rate: '1e-06' is not allowed; allowed: {RATE}{TEXT}"),
    ("full.shift", 9, "full.shift: 9 is not allowed; allowed: a whole number from 0 to 8"),
]


@pytest.mark.parametrize(("name", "value", "message"), ONE_FAULT)
def test_one_fault_is_named(name: str, value: Any, message: str) -> None:
    assert faults(changed((name, value))) == [message]


@pytest.mark.parametrize("name", ["none", "int", "constrained-int", "train.none", "train.int"])
def test_an_unknown_parameter_may_have_any_name(name: str) -> None:
    [fault] = faults(changed((name, 1)))
    assert fault.startswith(f"{name}: unknown parameter")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("runtime.threads", 256),
        ("data.limit", 200),
        ("full.learning_rate", 1),  # a whole number is a number
        ("full.weight_decay", 0),
        ("thresholds.mnist.full.macro_f1", 1.0),
        ("model.bits", 32),
    ],
)
def test_the_bounds_themselves_are_allowed(name: str, value: float) -> None:
    assert params.flatten(params.parse(changed((name, value)), "params.yaml"))[name] == value


def test_all_faults_are_listed_at_once() -> None:
    content = changed(
        ("seed", "x"),
        ("runtime.threads", 0),
        ("data.limit", MISSING),
        ("full.learning_rate", math.nan),
        ("binary.shft", 1),
        ("thresholds", []),
        ("extra", 1),
    )
    names = [fault.partition(":")[0] for fault in faults(content)]
    wanted = ["seed", "runtime.threads", "data.limit", "full.learning_rate", "binary.shft", "thresholds", "extra"]
    assert sorted(names) == sorted(wanted)


@pytest.mark.parametrize("content", [None, [], 3, "seed"])
def test_a_file_that_is_no_mapping_is_refused(content: object) -> None:
    assert faults(content) == [f"the file: {content!r} is not allowed; allowed: a mapping of sections"]


def written(folder: Path, old: str, new: str) -> Path:
    """The committed file with a piece of text replaced where it stands first."""
    text = COMMITTED.read_text(encoding="utf-8")
    assert old in text
    path = folder / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


# The first is that of `full`.
RATE_LINE = f"learning_rate: {params.load(COMMITTED).full.learning_rate}"


def test_1e_06_is_a_number(tmp_path: Path) -> None:
    # PyYAML reads it as text, and `dvc exp run -S` writes it so.
    assert params.load(written(tmp_path, RATE_LINE, "learning_rate: 1e-06")).full.learning_rate == 1e-6


def test_1e_06_in_quotes_is_text(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"full\.learning_rate: '1e-06' is not allowed.*without quotes"):
        params.load(written(tmp_path, RATE_LINE, "learning_rate: '1e-06'"))


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_yaml_spellings_of_what_is_no_number(tmp_path: Path, value: str) -> None:
    with pytest.raises(ParamsError, match=r"full\.learning_rate: -?(nan|inf) is not allowed"):
        params.load(written(tmp_path, RATE_LINE, f"learning_rate: {value}"))


NOT_YAML = {
    "open bracket": (b"seed: [1\n", "not valid YAML"),
    "tab": (b"train:\n\tepochs: 1\n", "not valid YAML"),
    "duplicate key": (b"seed: 1\nseed: 2\n", 'found duplicate key "seed"'),
    "duplicate key in a section": (b"full:\n  epochs: 1\n  epochs: 2\n", 'found duplicate key "epochs"'),
    "two documents": (b"seed: 1\n---\nseed: 2\n", "not valid YAML"),
    "tag": (b"seed: !!python/object:os.system 1\n", "not valid YAML"),
    "not UTF-8": (b"seed: \xff\n", "not valid YAML"),
    "control character": (b"seed: \x00\n", "not valid YAML"),
    "impossible date": (b"seed: 2001-99-99\n", "not valid YAML"),
    "number that is none": (b"seed: !!int abc\n", "not valid YAML"),
    "empty": (b"", "the file: None is not allowed"),
    "only a comment": (b"# nothing\n", "the file: None is not allowed"),
}


@pytest.mark.parametrize(("content", "message"), NOT_YAML.values(), ids=NOT_YAML)
def test_what_is_not_the_file_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        params.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run from the repository's root"):
        params.load(tmp_path / "params.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as caught:
        params.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("variant", "bits", "width", "clip", "section"),
    [
        ("full", 1, 16, None, "full"),
        ("binary", 1, 1, 1.0, "binary"),
        ("binary", 4, 4, None, "multibit"),
        ("binary", 16, 16, None, "multibit"),
    ],
)
def test_training_of_a_variant(
    variant: params.Variant, bits: int, width: int, clip: float | None, section: str
) -> None:
    content = changed(("model.bits", bits), ("binary.optimizer", "adam"))
    training = params.parse(content, "params.yaml").training(variant)
    assert (training.variant, training.bits, training.latent_clip, training.seed) == (variant, width, clip, 7)
    assert training.recipe.model_dump() == content[section]


@pytest.mark.parametrize(("bits", "rate"), [(1, 0.01), (2, None), (16, None)])
def test_bop_is_for_one_bit_and_has_no_latent_clip(bits: int, rate: float | None) -> None:
    training = params.parse(changed(("model.bits", bits)), "params.yaml").training("binary")
    assert (training.bop and training.bop.rate) == rate
    assert training.latent_clip is None
    assert params.parse(GOOD, "params.yaml").training("full").bop is None


@pytest.mark.parametrize(("bits", "learned"), [(1, False), (2, True), (8, True), (16, False), (32, False)])
def test_a_learned_step_is_for_two_to_eight_bits(bits: int, learned: bool) -> None:
    training = params.parse(changed(("model.bits", bits)), "params.yaml").training("binary")
    assert training.quantization.learned_step == learned


@pytest.mark.parametrize(("bits", "share"), [(1, 0.25), (2, 0.0), (16, 0.0)])
def test_the_first_stage_is_for_one_bit(bits: int, share: float) -> None:
    content = changed(("model.bits", bits), ("binary.optimizer", "adam"), ("binary.real_share", 0.25))
    assert params.parse(content, "params.yaml").training("binary").quantization.real_share == share


@pytest.mark.parametrize(("name", "value"), [("channel_scale", True), ("real_share", 0.5)])
def test_bop_is_refused_beside_what_needs_latent_weights(name: str, value: object) -> None:
    with pytest.raises(ParamsError) as caught:
        params.parse(changed((f"binary.{name}", value)), "params.yaml")
    assert f"binary.optimizer: 'bop' is not allowed here: bop has no latent weights, which {name} needs" in str(
        caught.value
    )


def test_adam_flips_nothing_by_itself() -> None:
    assert params.parse(changed(("binary.optimizer", "adam")), "params.yaml").training("binary").bop is None


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", None), ("muon", 0.03), ("bop", None)])
def test_muon_is_for_the_network_that_chooses_it(optimizer: str, rate: float | None) -> None:
    content = changed(("binary.optimizer", optimizer))
    assert params.parse(content, "params.yaml").training("binary").muon_rate == rate
    content = changed(("model.bits", 4), ("multibit.optimizer", "adam" if rate is None else optimizer))
    assert params.parse(content, "params.yaml").training("binary").muon_rate == (rate and 0.04)
    assert params.parse(content, "params.yaml").training("full").muon_rate == 0.02


@pytest.mark.parametrize("section", ["full", "multibit"])
def test_bop_is_no_optimizer_of_wider_weights(section: str) -> None:
    with pytest.raises(ParamsError, match=rf"{section}.optimizer: 'bop' is not allowed; allowed: adam, muon"):
        params.parse(changed((f"{section}.optimizer", "bop")), "params.yaml")


def test_flatten_joins_names_with_dots() -> None:
    assert params.flatten({"a": {"b": {"c": 1}, "d": None}, "e": 2}) == {"a.b.c": 1, "a.d": None, "e": 2}
    flat = params.flatten(params.parse(GOOD, "x").train, "train.")
    assert flat == {"train.norm_images": None}
