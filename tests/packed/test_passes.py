"""Several passes over an image give the mean of the logits of the images as they are seen, in every engine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support import networks
from support.packed_files import TINY, sealed

from bnnlib.data import splits
from bnnlib.packed import engines, passes, reference
from bnnlib.packed import format as packed_format
from bnnlib.packed.format import FormatError
from bnnlib.packed.model import ModelError, PackedModel, Pass

SEVERAL = (Pass(), Pass(1, -1, 10), Pass(-2, 0, -40))


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return dataclasses.replace(networks.committed(), passes=SEVERAL)


def test_what_a_pass_sees() -> None:
    image = np.array([[[0, 1, 2], [3, 4, 250], [6, 7, 8]]], np.uint8)
    assert np.array_equal(passes.seen(image, Pass()), image)
    assert passes.seen(image, Pass(1, 0, 0))[0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 4, 250]]
    assert passes.seen(image, Pass(0, -1, 10))[0].tolist() == [[11, 12, 10], [14, 255, 10], [17, 18, 10]]
    assert passes.seen(image, Pass(-2, 2, -6))[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_brighter_is_as_if_the_thresholds_were_lower(model: PackedModel, parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:50]
    lower = dataclasses.replace(model, input_thresholds=tuple(each - 25 for each in model.input_thresholds))
    assert np.array_equal(reference.dots(model, passes.seen(images, Pass(brighter=25))), reference.dots(lower, images))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_logits_are_the_mean_of_the_passes(count: int, model: PackedModel, parts: dict[str, splits.Split]) -> None:
    images = parts["test"].images[:200]
    found = passes.logits(engines.fast(model), images, count)
    each = [reference.logits(model, passes.seen(images, how)) for how in SEVERAL[:count]]
    assert np.abs(found - np.mean(each, axis=0)).max() < 1e-5
    assert np.array_equal(found, passes.logits(reference.Engine(model), images, count))
    if count == 1:
        assert np.array_equal(found, reference.logits(model, images))


@pytest.mark.parametrize("count", [0, 4])
def test_a_network_has_only_its_passes(count: int, model: PackedModel) -> None:
    with pytest.raises(ModelError, match=rf"^passes: {count}, expected 1 to 3, which this network has$"):
        passes.logits(reference.Engine(model), np.zeros((1, 28, 28), np.uint8), count)


def test_the_file_of_several_passes_is_of_version_3() -> None:
    several = dataclasses.replace(TINY, passes=(Pass(), Pass(1, -2, -255)))
    content = packed_format.encode(several)
    plain = packed_format.encode(TINY)
    assert content[32:46].hex(" ") == "02 00 00 00 00 00 00 00 01 00 fe ff 01 ff"
    assert content[10:32] + content[46:-4] == plain[10:-4]
    assert (content[4], plain[4]) == (3, 2)
    assert packed_format.decode(content).passes == several.passes
    assert packed_format.encode(packed_format.decode(content)) == content
    for length in range(len(content) - 4):
        with pytest.raises(FormatError):
            packed_format.decode(sealed(content[:length]) if length > 10 else content[:length])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((), "passes: 0, expected 1 to 16"),
        ((Pass(),) * 17, "passes: 17, expected 1 to 16"),
        ((Pass(1), Pass()), "passes[0]: (1, 0, 0), expected (0, 0, 0): the first sees the image as it is"),
        ((Pass(), Pass(4)), "passes[1].down: 4, expected -3 to 3"),
        ((Pass(), Pass(0, -4)), "passes[1].right: -4, expected -3 to 3"),
        ((Pass(), Pass(0, 0, 256)), "passes[1].brighter: 256, expected -255 to 255"),
    ],
)
def test_passes_that_cannot_be_made_are_named(wrong: tuple[Pass, ...], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        packed_format.encode(dataclasses.replace(TINY, passes=wrong))
    assert str(caught.value) == message


def test_a_file_of_one_pass_is_of_version_2_alone() -> None:
    plain = packed_format.encode(TINY)
    one = sealed(plain[:4] + bytes([3]) + plain[5:32] + bytes([1, 0, 0, 0, 0, 0, 0, 0]) + plain[32:-4])
    with pytest.raises(FormatError, match=r"passes: 1, expected several: the file of one is of version 2"):
        packed_format.decode(one)
