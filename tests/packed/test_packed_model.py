"""Packed models and images that do not fit are refused, and the message names the field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from support.packed_files import TINY

from bnnlib.packed import format as packed_format
from bnnlib.packed import model as packed
from bnnlib.packed.model import ModelError, PackedModel


def block(**changes: object) -> PackedModel:
    """The tiny network with a changed block."""
    return dataclasses.replace(TINY, blocks=(dataclasses.replace(TINY.blocks[0], **changes),))  # type: ignore[arg-type]


def head(**changes: object) -> PackedModel:
    """The tiny network with a changed head."""
    return dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, **changes))  # type: ignore[arg-type]


UNFIT: dict[str, Callable[[], PackedModel]] = {
    "side: 257, expected 1 to 256": lambda: dataclasses.replace(TINY, side=257),
    "input planes: 0, expected 1 to 64": lambda: dataclasses.replace(TINY, input_thresholds=()),
    "input planes: 65, expected 1 to 64": lambda: dataclasses.replace(TINY, input_thresholds=(1,) * 65),
    "input_thresholds[1]: -1, expected 0 to 256": lambda: dataclasses.replace(TINY, input_thresholds=(0, -1)),
    "blocks: 17, expected 0 to 16": lambda: dataclasses.replace(TINY, blocks=TINY.blocks * 17),
    "blocks[0].in_channels: 1, expected 2": lambda: block(weights=np.zeros((3, 1, 2, 2), np.bool_)),
    "blocks[0].weights: shape (3, 2, 2, 3), expected a square": lambda: block(weights=np.zeros((3, 2, 2, 3), np.bool_)),
    "blocks[0].weights: uint8 (3, 2, 2, 2), expected bool": lambda: block(weights=np.zeros((3, 2, 2, 2), np.uint8)),
    "blocks[0].weights: bool (3, 2, 4), expected bool of 4": lambda: block(weights=np.zeros((3, 2, 4), np.bool_)),
    "blocks[0].pool: 0, expected 1 to 3": lambda: block(pool=0),
    "blocks[0].pool: 4, expected 1 to 3": lambda: block(pool=4),
    "blocks[0].thresholds: 2 numbers, expected 3": lambda: block(thresholds=np.zeros(2, np.int32)),
    "blocks[0].thresholds: int64 (3,), expected int32": lambda: block(thresholds=np.zeros(3, np.int64)),
    "blocks[0].thresholds[1]: 10, expected -8 to 9": lambda: block(thresholds=np.array([0, 10, 0], np.int32)),
    "blocks[0].flipped: 4 numbers, expected 3": lambda: block(flipped=np.zeros(4, np.bool_)),
    "head.in_channels: 2, expected 3": lambda: head(weights=np.zeros((2, 2, 1, 1), np.bool_)),
    "head.kernel: 2, expected 1": lambda: head(weights=np.zeros((2, 3, 2, 2), np.bool_)),
    "head.scale: 1 numbers, expected 2": lambda: head(scale=np.zeros(1, np.float32)),
    "head.scale[1]: inf, expected a finite number": lambda: head(scale=np.array([0, np.inf], np.float32)),
    "head.offset: float64 (2,), expected float32": lambda: head(offset=np.zeros(2)),
    "head.offset[0]: nan, expected a finite number": lambda: head(offset=np.array([np.nan, 0], np.float32)),
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_model_that_does_not_fit_is_not_written(message: str) -> None:
    with pytest.raises(ModelError) as caught:
        packed_format.encode(UNFIT[message]())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 5, 4), (4, 4), (1, 1, 4, 4)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"images: uint8 .*, expected uint8 \(number of images, 4, 4\)"):
        packed.check_images(TINY, np.zeros(shape, np.uint8))


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ModelError, match=r"images: float64 \(2, 4, 4\)"):
        packed.check_images(TINY, np.zeros((2, 4, 4)))  # type: ignore[arg-type]
