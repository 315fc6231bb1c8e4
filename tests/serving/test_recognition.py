"""Real digits, drawn into files in many ways, are recognised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.drawings import enlarged

from bnnlib.data import mnist, splits
from bnnlib.packed.model import PackedModel
from bnnlib.serving import predict


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return predict.load()


def photographed(image: NDArray[np.uint8]) -> Image.Image:
    """On grey paper under uneven light, with noise."""
    light = np.linspace(0.6, 0.9, 200)
    values = (np.asarray(enlarged(image, 200), np.float64) * 0.8 + 40) * light
    noise = np.random.default_rng(int(image.sum())).normal(0, 4, values.shape)
    return Image.fromarray((values + noise).clip(0, mnist.WHITE).astype(np.uint8))


def transparent(image: NDArray[np.uint8]) -> Image.Image:
    """White strokes on a transparent background."""
    alpha = Image.fromarray(image).resize((100, 100), Image.Resampling.BILINEAR)
    return Image.merge("LA", [Image.new("L", alpha.size, mnist.WHITE), alpha])


def two_levels(image: NDArray[np.uint8]) -> Image.Image:
    return enlarged(image, 120).point([mnist.WHITE * (level >= 128) for level in range(256)]).convert("1")


WAYS: dict[str, tuple[Callable[[NDArray[np.uint8]], Image.Image], str, dict[str, Any]]] = {
    "as they are": (Image.fromarray, "png", {}),
    "dark on light": (lambda image: Image.fromarray(mnist.WHITE - image), "bmp", {}),
    "200x200": (lambda image: enlarged(image, 200), "png", {}),
    "64x64 jpeg": (lambda image: enlarged(image, 64), "jpg", {"quality": 50}),
    "20x20": (lambda image: enlarged(image, 20), "png", {}),
    "transparent": (transparent, "png", {}),
    "16 bits": (lambda image: Image.fromarray(np.asarray(enlarged(image, 90), np.uint16) * 257), "tif", {}),
    "1 bit": (two_levels, "gif", {}),
    "photographed": (photographed, "jpg", {"quality": 80}),
}


@pytest.mark.parametrize("way", WAYS)
def test_real_digits_in_files_are_recognised_as_well_as_in_the_data_set(
    way: str, model: PackedModel, parts: dict[str, splits.Split], tmp_path: Path
) -> None:
    """The accuracy on the first 1,000 test images may differ by 0.012 (12 images) from that of the data set's own."""
    labels = parts["test"].labels[:1000]
    direct = float((predict.logits(model, parts["test"].images[:1000]).argmax(axis=1) == labels).mean())
    draw, suffix, options = WAYS[way]
    for number, image in enumerate(parts["test"].images[:1000]):
        draw(image).save(tmp_path / f"{number:04d}.{suffix}", **options)
    outcomes = predict.classify([tmp_path], model)
    found = float(np.mean([outcome.digit == label for outcome, label in zip(outcomes, labels, strict=True)]))
    print(f"{way}: {found:.4f}, direct {direct:.4f}")
    assert found == pytest.approx(direct, abs=0.012)
