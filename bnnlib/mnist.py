"""MNIST and the sets in its format: IDX bytes to uint8 arrays, the split, class names, constants of normalisation."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnlib.errors import BnnError

if TYPE_CHECKING:
    from bnnlib.params import DataName  # slow to import, and `bnn predict` wants none of it

CLASSES = 10
# What the labels 0 to 9 stand for, as torchvision spells it; KMNIST's are kana.
CLASS_NAMES: dict[DataName, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
SIDE = 28
WHITE = 255
# Mean and standard deviation of the 60,000 training images scaled to [0, 1], as in PyTorch's MNIST example.
MEAN = 0.1307
STD = 0.3081

# IDX format: two zero bytes, the type of the values (8: unsigned byte), the number of dimensions, then each size.
UNSIGNED_BYTE = 0x08
PARTS = {
    "development": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
PART_SIZES = {"development": 60_000, "test": 10_000}  # images, the same in all data sets
SPLITS = ("train", "validation", "test")  # what the stages work on: the first two share the development part


class IdxError(BnnError):
    """Bytes that are not the IDX file they should be; the message names the file and the field."""


class SplitError(BnnError):
    """Too few images for a stratified split."""


class Split(NamedTuple):
    """Images, uint8 (n, 28, 28), and their labels, uint8 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def parse_idx(data: bytes, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with so many dimensions; `IdxError` names the file and the faulty field."""
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise IdxError(
            f"{name}: header: {len(data)} bytes, but an IDX header of {dimensions} dimensions takes {header}"
        )
    magic, *shape = struct.unpack(f">{1 + dimensions}I", data[:header])
    expected = UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise IdxError(
            f"{name}: magic: 0x{magic:08x}, expected 0x{expected:08x} (unsigned bytes, {dimensions} dimensions)"
        )
    size = math.prod(shape)
    if len(data) - header != size:
        shown = " x ".join(map(str, shape))
        raise IdxError(
            f"{name}: sizes: {shown} promise {size} values, but {len(data) - header} bytes follow the header"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def parse_images(data: bytes, name: str) -> NDArray[np.uint8]:
    """IDX bytes to images, uint8 (n, 28, 28)."""
    images = parse_idx(data, name, dimensions=3)
    if images.shape[1:] != (SIDE, SIDE):
        raise IdxError(
            f"{name}: sizes: images of {images.shape[1]} x {images.shape[2]} pixels, expected {SIDE} x {SIDE}"
        )
    return images


def parse_labels(data: bytes, name: str) -> NDArray[np.uint8]:
    """IDX bytes to labels 0 to 9, uint8 (n,)."""
    labels = parse_idx(data, name, dimensions=1)
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        at = int(wrong[0])
        raise IdxError(f"{name}: labels: {labels[at]} at index {at}, expected 0 to {CLASSES - 1}")
    return labels


def decode(images: bytes, labels: bytes, part: str) -> Split:
    """The two IDX files of a part ("development": the 60,000 images to train with, or "test") as arrays."""
    images_name, labels_name = PARTS[part]
    decoded = Split(parse_images(images, images_name), parse_labels(labels, labels_name))
    if len(decoded.images) != len(decoded.labels):
        raise IdxError(
            f"{images_name}, {labels_name}: sizes: {len(decoded.images)} images but {len(decoded.labels)} labels"
        )
    return decoded


def limited(data: Split, limit: int | None) -> Split:
    """The first ``limit`` images, or all of them."""
    return Split(data.images[:limit], data.labels[:limit])


def split(data: Split, validation_fraction: float, seed: int) -> tuple[Split, Split]:
    """Split into training and validation, stratified by class, each in the original order.

    `SplitError` where the images are too few to have every class on both sides.
    """
    from sklearn.model_selection import train_test_split  # slow to import, and only needed here

    indices = np.arange(len(data.labels))
    try:
        parts = train_test_split(indices, test_size=validation_fraction, random_state=seed, stratify=data.labels)
    except ValueError as error:  # scikit-learn names the numbers
        raise SplitError(
            f"{len(indices)} images cannot be split with data.validation_fraction {validation_fraction}: {error} "
            "Raise data.limit or data.validation_fraction."
        ) from error
    train, validation = (Split(data.images[rows], data.labels[rows]) for rows in map(np.sort, parts))
    return train, validation
