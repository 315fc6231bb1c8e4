"""McNemar's exact test, and the command that compares two networks by it."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import patterns
from support.clone import Bnn

from bnnlib.core import files
from bnnlib.data import splits
from bnnlib.export import pack
from bnnlib.nn import weights
from bnnlib.packed import format as packed_format
from bnnlib.packed.model import Pass
from bnnlib.report import paired
from bnnlib.report.paired import PairError

Right = NDArray[np.bool_]


def outcomes(both: int, first: int, second: int, neither: int) -> tuple[Right, Right]:
    """Which images each network gets right, mixed."""
    order = np.random.default_rng(0).permutation(both + first + second + neither)
    one = np.repeat([True, True, False, False], [both, first, second, neither])[order]
    other = np.repeat([True, False, True, False], [both, first, second, neither])[order]
    return one, other


def exact(first: int, second: int) -> float:
    """The same p-value by whole numbers: twice the smaller tail of a fair coin, at most 1."""
    tail = sum(Fraction(comb(first + second, k), 2 ** (first + second)) for k in range(min(first, second) + 1))
    return float(min(2 * tail, Fraction(1)))


@pytest.mark.parametrize(
    ("first", "second", "p"), [(5, 15, 0.0414), (0, 5, 0.0625), (0, 6, 0.03125), (1, 0, 1.0), (10, 10, 1.0)]
)
def test_known_values(first: int, second: int, p: float) -> None:
    found = paired.mcnemar(*outcomes(100, first, second, 7))
    assert found.p == pytest.approx(p, abs=5e-5)
    assert (found.both, found.first, found.second, found.neither, found.images) == (
        *(100, first, second, 7),
        107 + first + second,
    )


@pytest.mark.parametrize("first", [0, 3, 20, 61])
@pytest.mark.parametrize("second", [1, 4, 60])
def test_p_is_that_of_a_fair_coin_and_symmetric(first: int, second: int) -> None:
    one, other = outcomes(3, first, second, 2)
    p = paired.mcnemar(one, other).p
    assert p == pytest.approx(exact(first, second), rel=1e-9)
    assert paired.mcnemar(other, one).p == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("counts", [(5, 0, 0, 3), (0, 0, 0, 0)])
def test_where_no_image_tells_them_apart_p_is_1(counts: tuple[int, int, int, int]) -> None:
    assert paired.mcnemar(*outcomes(*counts)).p == 1.0


def test_images_that_both_get_right_or_wrong_change_nothing() -> None:
    assert paired.mcnemar(*outcomes(0, 5, 15, 0)).p == paired.mcnemar(*outcomes(9_000, 5, 15, 300)).p


def test_other_numbers_of_images_are_refused() -> None:
    with pytest.raises(PairError, match="3 and 4 images"):
        paired.mcnemar(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((80, 15, 5, 0), "the first is right more often"),
        ((80, 5, 15, 0), "the second is right more often"),
        ((80, 10, 10, 0), "no clear difference"),
    ],
)
def test_the_sentence_names_the_better_one_where_luck_does_not_explain_it(
    counts: tuple[int, int, int, int], verdict: str
) -> None:
    text = paired.sentence(paired.mcnemar(*outcomes(*counts)), ("a.bnn", "b.bnn"))
    assert text.endswith(f", {verdict}.")
    assert text.startswith(
        f"a.bnn: {(80 + counts[1]) / 100:.2%} of 100 images right\nb.bnn: {(80 + counts[2]) / 100:.2%}\n"
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 1-bit network, also packed with a pass, a 16-bit one, and validation images alone."""
    folder = tmp_path_factory.mktemp("networks")
    one = patterns.trained(1)
    weights.write(folder / "one.safetensors", one)
    files.write_bytes(folder / "one.bnn", packed_format.encode(pack.pack(one)))
    moved = pack.pack(one, [Pass(right=4, brighter=-200)])
    files.write_bytes(folder / "passes.bnn", packed_format.encode(moved))
    weights.write(folder / "wide.safetensors", patterns.trained(16))
    splits.write(folder / "data/validation.npz", patterns.split(60, 3))
    return folder


def compare(bnn: Bnn, folder: Path, *names: str) -> tuple[int | str | None, str, str]:
    """`bnn compare` of two files in the folder, with options."""
    first, second, *options = names
    return bnn("compare", f"{folder / first}", f"{folder / second}", "--data", f"{folder / 'data'}", *options)


def test_a_packed_network_and_its_origin_are_alike(bnn: Bnn, networks: Path) -> None:
    code, output, _ = compare(bnn, networks, "one.bnn", "one.safetensors")
    assert code == 0
    accuracy, other, counts, verdict = output.splitlines()
    assert accuracy.startswith(f"{networks / 'one.bnn'}: ")
    assert accuracy.endswith("% of 60 images right")
    assert accuracy.split(": ")[1].split()[0] == other.split(": ")[1]
    assert "only the first on 0, only the second on 0." in counts
    assert verdict == "McNemar's exact test: p = 1, no clear difference."


def test_the_counts_are_those_of_the_predictions(bnn: Bnn, networks: Path) -> None:
    validation = splits.read(networks / "data/validation.npz")
    names = ("passes.bnn", "wide.safetensors")
    right = [
        paired.predictions(networks / name, validation.images, count) == validation.labels
        for name, count in zip(names, (2, 1), strict=True)
    ]
    code, output, _ = compare(bnn, networks, *names, "--passes", "2")
    assert code == 0
    assert (
        output == paired.sentence(paired.mcnemar(*right), (str(networks / names[0]), str(networks / names[1]))) + "\n"
    )
    once = compare(bnn, networks, *names)[1]
    assert once != output  # the other pass sees hardly anything


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one.txt", "one.bnn"), "one.txt: the name ends in '.txt'; expected .bnn or .safetensors"),
        (("gone.bnn", "one.bnn"), "gone.bnn: cannot be read (No such file or directory)"),
        (("one.bnn", "gone.safetensors"), "gone.safetensors: cannot be read (No such file or directory)"),
        (("one.bnn", "one.bnn", "--passes", "2"), "one.bnn: passes: 2, expected 1 to 1, which this network has"),
        (("one.safetensors", "wide.safetensors", "--passes", "2"), "expected a .bnn file among them"),
        (("one.bnn", "one.bnn", "--data", "gone"), "gone/validation.npz: cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_named(names: tuple[str, ...], message: str, bnn: Bnn, networks: Path) -> None:
    code, output, _ = compare(bnn, networks, *names)
    assert isinstance(code, str)  # printed to stderr, exit status 1
    assert code.startswith("error: ")
    assert message in code
    assert output == ""
