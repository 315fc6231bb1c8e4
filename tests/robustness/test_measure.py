"""A network as it is gives what is published, and each bit of it is one of its file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import networks
from support.fits import VALIDATION, fitted_once
from support.paths import ROOT

from bnnlib.config.spec import Bits
from bnnlib.export import pack
from bnnlib.nn.published import restore
from bnnlib.packed import format as packed_format
from bnnlib.packed import reference
from bnnlib.packed.model import Head, ModelError, PackedModel
from bnnlib.robustness import bits, measure, stored
from bnnlib.robustness.stored import Stored
from bnnlib.scoring import evaluation

TINY = ROOT / "tests/packed/golden/tiny_v2.bnn"
TINY_BITS = 24 + 6 + 3 * 32 + 3 + 2 * 2 * 32  # weights of block and head, thresholds, flips, scales and offsets


def of_width(width: Bits) -> Stored:
    published = fitted_once(width)[-1].published
    return stored.of_packed(pack.pack(published)) if width == 1 else stored.of_published(published)


def every(network: Stored) -> dict[str, NDArray[Any]]:
    return {**network.weights, **network.norms}


class Chosen:
    """In place of a generator: its choice is this bit."""

    def __init__(self, bit: int) -> None:
        self.bit = bit

    def choice(self, *_: Any, **__: Any) -> list[int]:
        return [self.bit]


def with_bit(arrays: bits.Arrays, bit: int) -> dict[str, NDArray[Any]]:
    """The arrays with this one bit flipped."""
    chosen: Any = Chosen(bit)
    return bits.flipped(arrays, 1, chosen)


def model_of(model: PackedModel, arrays: Mapping[str, NDArray[Any]]) -> PackedModel:
    """The model with other numbers, unchecked."""
    names = ("weights", "thresholds", "flipped")
    blocks = [
        replace(block, **{name: arrays[f"blocks[{number}].{name}"] for name in names})
        for number, block in enumerate(model.blocks)
    ]
    head = Head(*(arrays[f"head.{name}"] for name in ("weights", "scale", "offset")))
    return replace(model, blocks=tuple(blocks), head=head)


@pytest.mark.parametrize("width", [1, 8, 16])
def test_without_flips_the_accuracy_is_the_published_one(width: Bits) -> None:
    model = restore(fitted_once(width)[-1].published)
    expected = evaluation.evaluate(model, *evaluation.tensors(VALIDATION, "cpu")).scores.accuracy
    for kind in measure.KINDS:
        row = measure.row(of_width(width), VALIDATION, kind, 0.0, 0)
        assert (row.bits, row.flips, row.accuracy, row.not_finite) == (width, 0, expected, 0.0)


@pytest.mark.parametrize(
    ("width", "weights", "norms"),
    [  # 1,902 weights of two planes, 1,752 of one; 21 channels of blocks, 10 of the head
        (1, 1_902, 21 * (32 + 1) + 10 * 2 * 32),
        (8, 1_752 * 8, 31 * 4 * 32),
        (16, 1_752 * 16, 31 * 4 * 16),
    ],
)
def test_the_number_of_bits(width: Bits, weights: int, norms: int) -> None:
    network = of_width(width)
    assert (bits.count(network.weights), bits.count(network.norms)) == (weights, norms)


def test_every_bit_of_a_packed_network_is_one_of_its_file() -> None:
    content = TINY.read_bytes()
    model = packed_format.decode(content)
    arrays = every(stored.of_packed(model))
    places = set()
    refused = 0
    for bit in range(bits.count(arrays)):
        changed = model_of(model, with_bit(arrays, bit))
        try:
            found = packed_format.encode(changed)
        except ModelError:  # a threshold that no dot product needs, a scale that is not finite
            refused += 1
            continue
        number = int.from_bytes(found[:-4], "little") ^ int.from_bytes(content[:-4], "little")
        assert number.bit_count() == 1
        places.add(number.bit_length() - 1)
    assert len(places) + refused == TINY_BITS
    assert min(places) == 32 * 8  # behind the topology: the first weight
    padding = {47 * 8 + bit for bit in range(3, 8)} | {48 * 8 + bit for bit in range(6, 8)}
    assert not places & padding
    assert zlib.crc32(content[:-4]) == int.from_bytes(content[-4:], "little")


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_beyond_every_dot_product_compare_as_they_are(seed: int) -> None:
    """The reference engine compares with any number; flipped bits give thresholds of up to 2**31."""
    model, images = networks.draw("pooled", seed)
    network = stored.of_packed(model)
    thresholds = {name: array for name, array in network.norms.items() if name.endswith(".thresholds")}
    random = np.random.default_rng(seed)
    found = {**every(network), **bits.flipped(thresholds, 400, random)}
    assert any((abs(found[name]) > 1_000_000).any() for name in thresholds)
    assert network.logits(found, images).tobytes() == reference.logits(model_of(model, found), images).tobytes()


@pytest.mark.parametrize("threshold", [-(2**31), -9, -8, 8, 9, 10, 2**31 - 1])
def test_at_the_largest_and_the_smallest_dot_product(threshold: int) -> None:
    """The dot products of 8 values are 8 where all agree, and -8 where none does."""
    model = packed_format.decode(TINY.read_bytes())
    network = stored.of_packed(model)
    images = np.stack([np.full((4, 4), value, np.uint8) for value in (0, 255)])
    changed = {
        "blocks[0].weights": np.ones_like(network.weights["blocks[0].weights"]),
        "blocks[0].thresholds": np.full(3, threshold, np.int32),
    }
    found = {**every(network), **changed}
    assert network.logits(found, images).tobytes() == reference.logits(model_of(model, found), images).tobytes()


def test_scales_that_are_not_finite_or_overflow_reach_the_logits() -> None:
    model, images = networks.draw("pooled")
    network = stored.of_packed(model)
    scale = network.norms["head.scale"].copy()
    scale[:4] = [np.nan, np.inf, -np.inf, 3e38]
    logits = network.logits({**every(network), "head.scale": scale}, images)
    assert np.isnan(logits[:, 0]).all()
    assert not np.isfinite(logits[:, 1:3]).any()
    assert not np.isfinite(logits[:, 3]).all()
    assert np.isfinite(logits[:, 4:]).all()


def test_an_image_without_finite_logits_is_wrong() -> None:
    logits = np.eye(4, dtype=np.float32)
    labels = np.arange(4, dtype=np.uint8)
    assert measure.scores(logits, labels) == (1.0, 0.0)
    logits[0, 3] = np.nan
    logits[1, 1] = np.inf  # the largest, and the right one
    logits[2, 0] = -np.inf
    assert measure.scores(logits, labels) == (0.25, 0.75)
    assert measure.scores(logits, np.array([0, 0, 0, 0], np.uint8)) == (0.0, 0.75)


@pytest.mark.parametrize("width", [8, 16])
def test_a_norm_that_is_no_number_makes_every_image_wrong(width: Bits) -> None:
    network = of_width(width)
    variance = network.norms["head.norm.running_var"].copy()
    variance[7] = -1  # its root is none
    changed = Stored(width, network.weights, {**network.norms, "head.norm.running_var": variance}, network.logits)
    row = measure.row(changed, VALIDATION, "all", 0.0, 0)
    assert (row.accuracy, row.not_finite) == (0.0, 1.0)


def test_the_order_in_which_a_file_is_read_does_not_matter() -> None:
    published = fitted_once(16)[-1].published
    backwards = replace(published, tensors=dict(reversed(published.tensors.items())))
    found = [measure.row(stored.of_published(each), VALIDATION, "all", 0.01, 0) for each in (published, backwards)]
    assert found[0] == found[1]
    assert [*every(stored.of_published(backwards))] == [*every(stored.of_published(published))]


class Recorder:
    """A network that answers nothing and keeps what it got."""

    def __init__(self) -> None:
        self.given: list[bits.Arrays] = []
        arrays = {"weight": np.zeros(8_000, np.bool_)}, {"norm": np.zeros(250, np.float32)}
        self.network = Stored(1, *arrays, self.logits)

    def logits(self, arrays: bits.Arrays, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.given.append(arrays)
        return np.zeros((len(images), 10), np.float32)

    def flips(self) -> list[tuple[int, int]]:
        """Flipped bits of weights and of norms, of each call."""
        return [
            (int(each["weight"].sum()), int(np.unpackbits(each["norm"].view(np.uint8)).sum())) for each in self.given
        ]


def test_the_flips_are_the_share_of_the_bits_of_that_kind() -> None:
    recorder = Recorder()
    rows = list(measure.measure(recorder.network, VALIDATION))
    assert len(rows) == 2 * (1 + 11 * 20)
    for row, (weights, norms) in zip(rows, recorder.flips(), strict=True):
        assert row.stored_bits == {"all": 16_000, "weights": 8_000}[row.bits_flipped]
        assert row.flips == weights + norms == (max(1, round(row.share * row.stored_bits)) if row.share else 0)
        assert norms == 0 or row.bits_flipped == "all"
        assert row.images == len(VALIDATION.labels)
    assert {row.flips for row in rows if row.share == 1e-6} == {1}
    assert any(norms for _, norms in recorder.flips())


def test_a_draw_repeats_and_differs_from_the_others() -> None:
    recorder = Recorder()
    for share, draw in [(0.01, 0), (0.01, 1), (0.03, 0), (0.01, 0)]:
        measure.row(recorder.network, VALIDATION, "weights", share, draw)
    first, second, third, again = (each["weight"] for each in recorder.given)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not (first <= third).all()
