"""Digits in pictures as people take them are found; what is no single digit is refused, with the reason."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import photographs
from support.drawings import enlarged
from support.paths import ROOT

from bnnlib.data import splits
from bnnlib.packed.model import PackedModel
from bnnlib.serving import predict
from bnnlib.serving.decoding import ImageError, decode
from bnnlib.serving.preparation import digits, prepare, simple_look

COUNT = 12  # of each kind


@pytest.fixture(scope="module")
def model() -> PackedModel:
    return predict.load()


def grey(made: NDArray[np.float64] | Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    (made if isinstance(made, Image.Image) else photographs.picture(made)).save(buffer, "PNG", compress_level=1)
    return decode(buffer.getvalue(), "x")


@pytest.mark.parametrize("kind", photographs.KINDS, ids=lambda kind: kind.__name__)
def test_a_digit_is_found(
    kind: Callable[[NDArray[np.uint8]], NDArray[np.float64]], model: PackedModel, parts: dict[str, splits.Split]
) -> None:
    """At least 11 of 12 (the network itself is right on all of them), and none wrong with more than 0.9."""
    images, labels = parts["test"].images[300 : 300 + COUNT], parts["test"].labels[300 : 300 + COUNT]
    found = predict.rank(predict.logits(model, np.stack([prepare(grey(kind(image)), "x") for image in images])))
    wrong = [
        (ranking[0], int(label)) for ranking, label in zip(found, labels, strict=True) if ranking[0].digit != label
    ]
    assert len(wrong) <= 1, wrong
    assert all(guess.probability <= 0.9 for guess, _ in wrong), wrong


def test_several_digits_are_refused_or_read_from_left_to_right(
    model: PackedModel, parts: dict[str, splits.Split]
) -> None:
    page = Image.new("L", (820, 240), 255)
    for place in range(4):
        page.paste(enlarged(parts["test"].images[place], 180), (20 + 195 * place, 30))
    with pytest.raises(ImageError, match=r"^x: several shapes: 4, expected one digit"):
        prepare(page, "x")
    found = predict.logits(model, np.stack([digit.image for digit in digits(page, "x")])).argmax(axis=1)
    assert found.tolist() == parts["test"].labels[:4].tolist()


@pytest.mark.parametrize("numbers", [(3649, 5222, 3231), (3003, 9448, 6044)])
def test_three_digits_that_fill_a_square_are_several(numbers: tuple[int, ...], parts: dict[str, splits.Split]) -> None:
    """Together they are framed as MNIST's digits are."""
    sheets = [
        photographs.sheet(parts["test"].images[number], field=180, at=(210, 10 + 200 * place))
        for place, number in enumerate(numbers)
    ]
    with pytest.raises(ImageError, match=r"^x: several shapes: 3, expected one digit"):
        prepare(photographs.picture(np.minimum.reduce(sheets)), "x")


@pytest.mark.parametrize("number", [188, 242, 324])
def test_a_dark_side_is_not_a_part_of_the_digit(
    number: int, model: PackedModel, parts: dict[str, splits.Split]
) -> None:
    page = photographs.sheet(parts["test"].images[number], at=(160, 160)) * np.linspace(1, 0.4, photographs.SIDE)
    found = predict.logits(model, prepare(photographs.picture(page), "x")[None]).argmax()
    assert found == parts["test"].labels[number]


def test_clean_pictures_keep_the_simple_preparation(parts: dict[str, splits.Split]) -> None:
    """Of digits as they are and drawn large, broken and thick ones too, to the last bit."""
    several_parts = (5331, 5425, 5608, 5676, 6558, 9702)  # a closer look finds less, and is not believed
    for number in (*range(40), 200, 209, 353, 542, 694, 1114, 1911, 1940, *several_parts):
        image = parts["test"].images[number]
        for picture in (Image.fromarray(image), enlarged(image, 280)):
            assert np.array_equal(prepare(picture, "x"), simple_look(picture, "x").image()), number


@pytest.mark.parametrize("deviation", [20, 60])
def test_noise_alone_is_no_digit(deviation: float) -> None:
    values = np.random.default_rng(0).normal(128, deviation, (300, 300)).clip(0, 255).astype(np.uint8)
    with pytest.raises(ImageError, match=r"^x: (no digit found|several shapes)"):
        prepare(Image.fromarray(values), "x")


def test_about_two_percent_of_the_digits_are_unsure(model: PackedModel, parts: dict[str, splits.Split]) -> None:
    """The threshold is that of the default network: choose it again when the network changes."""
    some = parts["development"].images[::5]
    unsure = float((predict.logits(model, some).max(axis=1) < predict.LEAST_LOGIT).mean())
    assert 0.015 <= unsure <= 0.025


MEASURED = """
import sys
from pathlib import Path
from typing import Any
from bnnlib.serving import images
images.load(Path(sys.argv[1]))  # all modules are loaded

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024

before = peak()
for name in sys.argv[2:]:
    try:
        images.load(Path(name))
    except images.ImageError:
        pass
print(peak() - before)
"""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int) -> bytes:
    """A few bytes that declare a large picture of four channels of 16 bits."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


LARGE: list[tuple[str, str, int, dict[str, Any]]] = [
    ("png", "RGBA", 8192, {"compress_level": 1}),
    ("jpg", "RGB", 8192, {"subsampling": 0}),
    ("jpg", "RGB", 5700, {"progressive": True, "subsampling": 0}),
    ("webp", "RGB", 4000, {"quality": 30, "method": 0}),
    ("tif", "RGB", 5700, {"compression": "tiff_lzw"}),
    ("tif", "F", 5700, {"compression": "packbits"}),
    ("gif", "L", 6000, {}),
]


@pytest.mark.parametrize(("kind", "mode", "side", "options"), LARGE)
def test_memory_is_bounded(tmp_path: Path, kind: str, mode: str, side: int, options: dict[str, Any]) -> None:
    """At most 400 MB more than for a small image: of images at the limit, and of a file that only declares one."""
    sheet = Image.new(mode, (side, side), "white" if mode != "F" else 1.0)
    sheet.paste(0 if mode in "FL" else "black", (side // 3, side // 4, side // 2, side // 4 * 3))
    sheet.save(tmp_path / f"large.{kind}", **options)
    (tmp_path / "bomb.png").write_bytes(bomb(8192))
    enlarged(np.eye(28, dtype=np.uint8) * 255, 100).save(tmp_path / "small.png")
    names = [str(tmp_path / name) for name in ("small.png", f"large.{kind}", "bomb.png")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 400
