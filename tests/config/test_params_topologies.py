"""The topologies of params.yaml: the one that is chosen, and errors named with their arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from support.parameters import GOOD, changed, errors

from bnnlib.config import params


@pytest.mark.parametrize(("name", "thresholds"), GOOD["topologies"]["mine"]["input"].items())
def test_the_input_thresholds_are_those_of_the_data_set(name: str, thresholds: tuple[int, ...]) -> None:
    loaded = params.parse(changed(("data.name", name)), "params.yaml")
    assert loaded.training("binary").topology.input == thresholds
    assert loaded.training("full").topology.input == ()  # so that another threshold retrains no wider network


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


def test_a_block_may_be_written_in_short() -> None:
    content = params.parse(changed((f"{MINE}.blocks", [[4, 5, 2], [6, 3, 1]])), "params.yaml").model_dump()
    assert content["topologies"]["mine"]["blocks"] == (block(), block(channels=6, kernel=3, pool=1))


MINE = "topologies.mine"
PIXELS = "a list of 1 to 64, each item a whole number from 1 to 255"
IMPOSSIBLE: list[tuple[str, Any, str]] = [
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
    (f"{MINE}.blocks", [[4, 5, 0]], f"{MINE}.blocks[0].pool: 0 is not allowed; allowed: a whole number from 1 to 28"),
    (f"{MINE}.blocks", [[4, 5]], f"{MINE}.blocks[0]: [4, 5] is not allowed; allowed: a section with channels, kernel"),
    (f"{MINE}.blocks", [7], f"{MINE}.blocks[0]: 7 is not allowed; allowed: a section with channels, kernel, pool"),
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


@pytest.mark.parametrize(("name", "value", "message"), IMPOSSIBLE)
def test_an_impossible_topology_is_named_with_its_arithmetic(name: str, value: Any, message: str) -> None:
    [error] = errors(changed((name, value)))
    assert error.startswith(message)


@pytest.mark.parametrize("name", [3, "a.b", "a,b", "", "3x"])
def test_a_topology_whose_name_no_option_can_spell_is_refused(name: object) -> None:
    [error] = errors(changed(("topologies", {**GOOD["topologies"], name: GOOD["topologies"]["other"]})))
    assert error.startswith(
        f"the name {name} in topologies: {name!r} is not allowed; allowed: a name of letters, digits"
    )


@pytest.mark.parametrize("sizes", [{"kernel": 28, "pool": 1}, {"kernel": 1, "pool": 28}, {"kernel": 3, "pool": 26}])
def test_the_largest_kernels_and_pools_are_allowed(sizes: dict[str, int]) -> None:
    loaded = params.parse(changed((f"{MINE}.blocks", [block(**sizes)])), "params.yaml")
    assert loaded.topology(1).layers()[-1].in_side == 1
