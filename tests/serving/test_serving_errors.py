"""Malformed requests to the served network are refused with a message that names the error, never classified."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from support import networks

from bnnlib.packed import reference
from bnnlib.packed.model import ModelError
from bnnlib.serving import pyfunc
from bnnlib.serving.pyfunc import PixelError

SIDE = 28
CLASSIFIER = pyfunc.load(networks.COMMITTED)
# What one pixel may not be. JSON gives all but the last three.
SCALARS = (
    st.booleans()
    | st.none()
    | st.text(max_size=5)
    | st.sampled_from(["1", "0", "NaN", -1, 256, 0.5, 10**400, -(10**400), math.nan, math.inf, -math.inf, 1e308])
    | st.integers(max_value=-1)
    | st.integers(min_value=256)
    | st.floats(allow_nan=True).filter(lambda value: not (0 <= value <= 255 and value.is_integer()))
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.just(Fraction(1))
)
RUBBISH = st.recursive(
    SCALARS | st.integers(0, 255),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
ANY_ARRAY = st_numpy.arrays(
    st_numpy.scalar_dtypes() | st.just(np.dtype(np.object_)),
    st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


def blank(images: int = 2) -> NDArray[Any]:
    """Images as MLflow passes them: objects."""
    return np.zeros((images, SIDE, SIDE), np.object_)


def refused(images: Any) -> str:
    """The message with which images are refused."""
    with pytest.raises((PixelError, ModelError)) as caught:
        CLASSIFIER.predict(images)
    assert len(str(caught.value)) < 300
    return str(caught.value)


@settings(deadline=None)
@given(SCALARS | st.lists(st.integers(0, 255), max_size=3), st.integers(0, 2 * SIDE**2 - 1))
def test_one_bad_value_among_good_ones(value: Any, at: int) -> None:
    images = blank()
    images[np.unravel_index(at, images.shape)] = value
    message = refused(images)
    assert message.startswith("images: ")
    assert message.endswith(", expected whole numbers from 0 to 255")


def test_numbers_too_long_to_write() -> None:
    images = blank()
    images[0, 0, 0] = 10**5000
    assert refused(images) == "images: pixel of 16610 bits, expected whole numbers from 0 to 255"


@settings(deadline=None)
@given(RUBBISH)
def test_nested_rubbish(value: Any) -> None:
    assert refused(value).startswith("images: ")


@settings(deadline=None)
@given(RUBBISH)
def test_nested_rubbish_as_mlflow_casts_it(value: Any) -> None:
    try:
        images = np.array(value, np.object_)
    except ValueError:  # MLflow refuses it with this
        return
    assert refused(images).startswith("images: ")


@settings(deadline=None)
@given(ANY_ARRAY)
def test_arrays_of_any_type_and_of_other_sizes(images: NDArray[Any]) -> None:
    assert refused(images).startswith("images: ")


@settings(deadline=None, max_examples=50)
@given(
    st_numpy.arrays(st_numpy.scalar_dtypes(), st.just((1, SIDE, SIDE)), elements=None, fill=st.nothing())
    | st_numpy.arrays(np.float64, (1, SIDE, SIDE), elements=st.floats(-1, 300))
    | st_numpy.arrays(np.int64, (1, SIDE, SIDE), elements=st.integers(-1, 257))
    | st_numpy.arrays(np.uint8, (1, SIDE, SIDE))
)
def test_an_image_is_answered_only_if_every_pixel_is_a_whole_number_from_0_to_255(images: NDArray[Any]) -> None:
    number = images.dtype.kind in "uif"
    if not number or not all(0 <= value <= 255 and float(value).is_integer() for value in images.ravel().tolist()):
        refused(images)
        return
    expected = reference.logits(networks.committed(), images.astype(np.uint8)).argmax(axis=1)
    assert CLASSIFIER.predict(images)["digit"].tolist() == expected.tolist()


@settings(deadline=None)
@given(st_numpy.arrays(np.uint8, (2, SIDE, SIDE)), st.data())
def test_numbers_as_objects_are_those_numbers(images: NDArray[np.uint8], data: st.DataObject) -> None:
    """JSON writes a whole number as 3 or as 3.0."""
    kinds = data.draw(st_numpy.arrays(np.bool_, images.shape))
    objects = np.where(kinds, images.astype(object), images.astype(np.float64).astype(object))
    assert {type(value) for value in objects.flat} <= {int, float}
    assert CLASSIFIER.predict(objects).equals(CLASSIFIER.predict(images))


def test_no_images_give_an_empty_table() -> None:
    found = CLASSIFIER.predict(blank(0))
    assert found.columns.tolist() == ["digit", "probability"]
    assert len(found) == 0
