"""Image files of every kind become the same image like MNIST's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.drawings import (
    BLACK,
    EXPECTED,
    EXTENSIONS,
    PAPER,
    RED,
    SAME,
    WHITE,
    YELLOW,
    bits,
    colours,
    deep,
    drawing,
    on_transparent,
    overlap,
    read,
    saved,
)

from bnnlib.serving import images
from bnnlib.serving.images import ImageError


def test_the_drawing_is_prepared_as_mnist_was() -> None:
    assert EXPECTED.shape == (28, 28)
    assert EXPECTED.dtype == np.uint8
    assert EXPECTED.max() == WHITE
    rows, columns = np.flatnonzero(EXPECTED.any(axis=1)), np.flatnonzero(EXPECTED.any(axis=0))
    assert rows[-1] - rows[0] + 1 == 20
    assert columns[-1] - columns[0] + 1 == 18  # 474 of 522 rows of the large drawing: 20 * 474 / 522 = 18.2
    for axis in (0, 1):
        profile = EXPECTED.sum(axis=axis, dtype=np.float64)
        assert abs(np.average(np.arange(28), weights=profile) - 14) <= 0.5
    top = EXPECTED[rows[0] + 1]
    assert bits(top)[columns[0] + 2 : columns[-1]].all()  # the bar is at the top: upright
    assert EXPECTED[rows[-1], columns[-1]] == 0


TIFF_ONLY = {
    "float": Image.fromarray(np.asarray(drawing(), np.float32) / WHITE),
    "float, light on dark": Image.fromarray(np.asarray(drawing(foreground=WHITE, background=0), np.float32) * 1e30),
    "32 bits": Image.fromarray(np.asarray(drawing(), np.int32) * 8_000_000 - 10**9),
    "cmyk": drawing().convert("RGB").convert("CMYK"),
}
MODES = {  # modes that Pillow writes
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"},
    "BMP": {"1", "L", "P", "RGB"},
    "GIF": {"1", "L", "P", "RGB"},
    "TIFF": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"},
}
LOSSLESS = [
    (kind, name)
    for kind, modes in MODES.items()
    for name, image in {**SAME, **(TIFF_ONLY if kind == "TIFF" else {})}.items()
    if image.mode in modes
]


@pytest.mark.parametrize(("kind", "name"), LOSSLESS)
def test_every_lossless_file_of_the_drawing_gives_the_same_image(kind: str, name: str) -> None:
    found = read(saved({**SAME, **TIFF_ONLY}[name], kind))
    assert np.abs(found.astype(int) - EXPECTED).max() <= 6  # rounded colours, stretched again
    assert overlap(found, EXPECTED) >= 0.99


@pytest.mark.parametrize("name", [name for name, image in SAME.items() if image.mode in {"L", "RGB"}])
@pytest.mark.parametrize("quality", [30, 90])
def test_jpeg_gives_nearly_the_same(name: str, quality: int) -> None:
    found = read(saved(SAME[name], "JPEG", quality=quality, subsampling=0))
    assert overlap(found, EXPECTED) >= (0.9 if quality == 90 else 0.8)


def test_cmyk_jpeg() -> None:
    assert overlap(read(saved(TIFF_ONLY["cmyk"], "JPEG")), EXPECTED) >= 0.9


@pytest.mark.parametrize("kind", EXTENSIONS)
@pytest.mark.parametrize("background", [0, WHITE])
@pytest.mark.parametrize("size", [24, 28, 29, 64, 333, 2000])
def test_any_size(kind: str, background: int, size: int) -> None:
    found = read(saved(drawing(size, WHITE - background, background), kind))
    assert overlap(found, EXPECTED) >= (0.75 if size < 64 else 0.9)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("background", [0, WHITE])
def test_one_bit(kind: str, background: int) -> None:
    image = drawing(foreground=WHITE - background, background=background).convert("1", dither=Image.Dither.NONE)
    found = read(saved(image, kind))
    assert overlap(found, EXPECTED) >= 0.9


@pytest.mark.parametrize("foreground", [BLACK, PAPER, RED])
def test_gif_and_palette_png_with_a_transparent_entry(foreground: tuple[int, int, int]) -> None:
    indices = Image.fromarray((np.asarray(drawing()) < 128).astype(np.uint8))
    image = indices.convert("P")
    for background in (BLACK, PAPER):
        image.putpalette([*background, *foreground])
        for kind in ("GIF", "PNG"):
            assert overlap(read(saved(image, kind, transparency=0)), EXPECTED) >= 0.9


@pytest.mark.parametrize("foreground", [BLACK, PAPER])
def test_bmp_with_alpha(foreground: tuple[int, int, int]) -> None:
    image = on_transparent(foreground, foreground)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 200, -200, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks + bytes(52)
    content = b"BM" + struct.pack("<IHHI", 14 + 108 + 160_000, 0, 0, 14 + 108) + header + image.tobytes("raw", "BGRA")
    assert np.abs(read(content).astype(int) - EXPECTED).max() <= 6


@pytest.mark.parametrize("foreground", [BLACK, PAPER])
def test_grey_png_with_one_transparent_level(foreground: tuple[int, int, int]) -> None:
    grey = Image.fromarray(np.where(np.asarray(drawing()) < 128, foreground[0], 7).astype(np.uint8))
    content = saved(grey, transparency=7)
    assert overlap(read(content), EXPECTED) >= 0.9


@pytest.mark.parametrize(("foreground", "background"), [(BLACK, PAPER), (PAPER, BLACK), (RED, YELLOW)])
@pytest.mark.parametrize("shape", ["ellipse", "rounded_rectangle"])
def test_a_picture_with_transparent_corners_keeps_its_own_background(
    foreground: tuple[int, int, int], background: tuple[int, int, int], shape: str
) -> None:
    picture = colours(drawing(), foreground, background)
    card = Image.new("RGB", (400, 400), background)
    card.paste(picture, (110, 110))
    alpha = Image.new("L", card.size)
    pen = ImageDraw.Draw(alpha)
    options = {"radius": 60} if shape == "rounded_rectangle" else {}
    getattr(pen, shape)([5, 5, 395, 395], fill=WHITE, **options)
    card.putalpha(alpha)
    assert overlap(read(saved(card)), EXPECTED) >= 0.95


def test_a_pale_drawing_whose_alpha_stays_low_is_foreground() -> None:
    image = on_transparent(BLACK, PAPER)
    image.putalpha(image.getchannel("A").point([level // 3 for level in range(256)]))
    assert overlap(read(saved(image)), EXPECTED) >= 0.95


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_makes_it_upright(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = drawing() if orientation == 1 else drawing().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert overlap(read(saved(image, kind, exif=exif)), EXPECTED) >= 0.95


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_the_first_frame_counts(kind: str) -> None:
    blank = Image.new("L", (200, 200), WHITE)
    content = saved(drawing(), kind, save_all=True, append_images=[blank, blank.rotate(90)])
    assert overlap(read(content), EXPECTED) >= 0.95


def test_the_first_of_two_pictures_in_a_jpeg_of_a_phone() -> None:
    content = saved(drawing(), "MPO", save_all=True, append_images=[drawing().rotate(90)])
    assert overlap(read(content), EXPECTED) >= 0.9


@pytest.mark.parametrize(
    ("byte_order", "compression"),
    [("II", "raw"), ("II", "tiff_lzw"), ("II", "tiff_adobe_deflate"), ("II", "packbits"), ("MM", "raw")],
)
def test_tiff_of_sixteen_bits(compression: str, byte_order: str) -> None:
    image = deep(257) if byte_order == "II" else Image.frombytes("I;16B", (200, 200), np.asarray(deep(257), ">u2"))
    assert np.abs(read(saved(image, "TIFF", compression=compression)).astype(int) - EXPECTED).max() <= 6


def noisy(grey: Image.Image, deviation: float, slope: float) -> Image.Image:
    """Like a photograph: paper darker than white, strokes lighter than black, uneven light, noise."""
    generator = np.random.default_rng(0)
    values = np.asarray(grey, np.float64) * 0.6 + 60 + np.linspace(-slope, slope, grey.width)
    return Image.fromarray((values + generator.normal(0, deviation, values.shape)).clip(0, WHITE).astype(np.uint8))


@pytest.mark.parametrize(("deviation", "slope"), [(0, 0), (3, 0), (10, 0), (0, 30), (4, 20)])
@pytest.mark.parametrize("background", [0, WHITE])
def test_noise_and_uneven_light_are_background(deviation: float, slope: float, background: int) -> None:
    found = read(saved(noisy(drawing(400, WHITE - background, background), deviation, slope)))
    assert overlap(found, EXPECTED) >= 0.85


def test_a_faint_foreground_is_stretched() -> None:
    found = read(saved(drawing().point([200 + level * 15 // WHITE for level in range(256)])))
    assert overlap(found, EXPECTED) >= 0.9


def test_a_thin_line_on_a_large_sheet_is_foreground() -> None:
    sheet = Image.new("L", (3000, 3000), WHITE)
    ImageDraw.Draw(sheet).line([(500, 300), (1500, 300), (800, 2400)], fill=0, width=2)
    found = read(saved(sheet))
    assert found.max() == WHITE
    assert 25 <= bits(found).sum() <= 110  # about 30 pixels long, one or two wide
    assert len(np.unique(found)) > 20  # smooth edges: nothing was rounded on the way


def test_what_touches_the_edges_is_foreground() -> None:
    grey = drawing()
    box = grey.point([WHITE - level for level in range(256)]).getbbox()
    assert overlap(read(saved(grey.crop(box))), EXPECTED) >= 0.9


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (2, 3), (3, 3), (1, 5000), (5000, 1)])
def test_a_few_pixels(size: tuple[int, int]) -> None:
    image = Image.new("L", size, WHITE)
    image.putpixel((size[0] // 2, size[1] // 2), 0)
    found = read(saved(image))
    assert found.max() == WHITE
    assert np.flatnonzero(found.any(axis=0)).mean() == pytest.approx(13.5, abs=1)


NOTHING = {
    "white": Image.new("L", (50, 50), WHITE),
    "black": Image.new("RGB", (50, 50)),
    "one pixel": Image.new("L", (1, 1), 90),
    "1 bit": Image.new("1", (9, 9), 1),
    "fully transparent": drawing().convert("RGBA").point([*range(256)] * 3 + [0] * 256),
    "transparent grey": Image.new("LA", (9, 9), (0, 0)),
    "16 bits": Image.fromarray(np.full((9, 9), 40_000, np.uint16)),
    "16 bits, black": Image.fromarray(np.zeros((9, 9), np.uint16)),
    "16 bits, nearly uniform": Image.fromarray(np.arange(40_000, 40_064, dtype=np.uint16).reshape(8, 8)),
    "nearly uniform": Image.fromarray(np.arange(90, 98, dtype=np.uint8).reshape(2, 4)),
}


@pytest.mark.parametrize("name", NOTHING)
def test_without_a_digit(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(NOTHING[name]))
    with pytest.raises(ImageError, match=rf"^{path}: no digit found: .*; draw one digit in a colour that stands out"):
        images.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    values = np.zeros((9, 9), np.float32)
    values[4, 4] = value
    with pytest.raises(ImageError, match=r"^x: holds values from .*, expected finite ones"):
        read(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("high", [1e-45, 1e-30, 3.4e38])
def test_floats_of_any_scale(high: float) -> None:
    values = np.where(np.asarray(drawing()) < 128, -high, high).astype(np.float32)
    assert overlap(read(saved(Image.fromarray(values), "TIFF")), EXPECTED) >= 0.9
