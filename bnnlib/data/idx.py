"""IDX bytes to uint8 arrays."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import CLASSES, PARTS, SIDE
from bnnlib.data.splits import Split

# IDX format: two zero bytes, the type of the values (8: unsigned byte), the number of dimensions, then each size.
UNSIGNED_BYTE = 0x08


class IdxError(BnnError):
    """Bytes that are not the IDX file they should be; the message names the file and the field."""


def parse_idx(data: bytes, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with N dimensions; `IdxError` names the file and the wrong field."""
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
        raise IdxError(f"{name}: sizes: {shown} means {size} values, but {len(data) - header} bytes follow the header")
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
