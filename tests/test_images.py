"""Image files of every kind become the same image like MNIST's; all else becomes an `ImageError`, never a crash."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bnnlib import images, mnist
from bnnlib.images import ImageError

WHITE = 255
EXTENSIONS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"}


def drawing(size: int = 200, ink: int = 0, ground: int = WHITE) -> Image.Image:
    """A 7 off the centre of a square sheet, mode L, drawn large and scaled down for smooth edges.

    Its centre of mass is not near the middle between two pixels, where a trifle would decide to which it moves.
    """
    large = Image.new("L", (800, 800), ground)
    pen = ImageDraw.Draw(large)
    pen.line([(120, 80), (560, 80), (340, 560)], fill=ink, width=70, joint="curve")
    return large.resize((size, size), Image.Resampling.BOX)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes) -> NDArray[np.uint8]:
    return images.prepare(images.decode(content, "x"), "x")


def bits(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What the network sees."""
    return image >= mnist.BINARY_THRESHOLD


def overlap(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Ink pixels in both over ink pixels in either."""
    return float((bits(left) & bits(right)).sum() / (bits(left) | bits(right)).sum())


EXPECTED = read(saved(drawing()))


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
    assert top[columns[0] + 2 : columns[-1]].min() >= mnist.BINARY_THRESHOLD  # the bar stands at the top: upright
    assert EXPECTED[rows[-1], columns[-1]] == 0


def colours(image: Image.Image, ink: tuple[int, int, int], ground: tuple[int, int, int]) -> Image.Image:
    """A black on white drawing in two colours."""
    share = np.asarray(image, np.float64)[:, :, None] / WHITE
    return Image.fromarray((share * ground + (1 - share) * ink).round().astype(np.uint8))


def on_transparent(ink: tuple[int, int, int], hidden: tuple[int, int, int], size: int = 200) -> Image.Image:
    """The drawing as alpha: ``hidden`` is the colour of the transparent pixels, which nobody sees."""
    alpha = drawing(size, WHITE, 0)
    inked = np.asarray(alpha)[:, :, None] > 0
    image = Image.fromarray(np.where(inked, ink, hidden).astype(np.uint8))
    image.putalpha(alpha)
    return image


def deep(factor: int, ground: int = WHITE) -> Image.Image:
    """Values of 16 bits: dark ink on a light ground, or light on dark."""
    values = np.asarray(drawing(ink=WHITE - ground, ground=ground), np.uint16) * factor
    return Image.fromarray(values.astype(np.uint16))


BLACK, PAPER, RED, GREEN, YELLOW = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 130, 0), (255, 255, 0)
SAME = {
    "dark on light": drawing(),
    "light on dark": drawing(ink=WHITE, ground=0),
    "rgb": drawing().convert("RGB"),
    "rgb, light on dark": drawing(ink=WHITE, ground=0).convert("RGB"),
    "palette": drawing().convert("P"),
    "blue on yellow": colours(drawing(), (0, 0, 255), YELLOW),
    "yellow on white": colours(drawing(), YELLOW, PAPER),
    "red on green of the same luminance": colours(drawing(), RED, GREEN),
    "grey with opaque alpha": drawing().convert("LA"),
    "rgba, opaque": drawing().convert("RGBA"),
    "rgba, half opaque everywhere": Image.merge("LA", [drawing(), Image.new("L", (200, 200), 128)]).convert("RGBA"),
    "black on transparent black": on_transparent(BLACK, BLACK),
    "black on transparent white": on_transparent(BLACK, PAPER),
    "white on transparent black": on_transparent(PAPER, BLACK),
    "white on transparent white": on_transparent(PAPER, PAPER),
    "red on transparent green": on_transparent(RED, GREEN),
    "grey alpha, white on transparent": on_transparent(PAPER, PAPER).convert("LA"),
    "16 bits": deep(257),
    "16 bits, light on dark": deep(257, ground=0),
    "12 of 16 bits": deep(16),
}
TIFF_ONLY = {
    "float": Image.fromarray(np.asarray(drawing(), np.float32) / WHITE),
    "float, light on dark": Image.fromarray(np.asarray(drawing(ink=WHITE, ground=0), np.float32) * 1e30),
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
@pytest.mark.parametrize("ground", [0, WHITE])
@pytest.mark.parametrize("size", [24, 28, 29, 64, 333, 2000])
def test_any_size(kind: str, ground: int, size: int) -> None:
    found = read(saved(drawing(size, WHITE - ground, ground), kind))
    assert overlap(found, EXPECTED) >= (0.75 if size < 64 else 0.9)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("ground", [0, WHITE])
def test_one_bit(kind: str, ground: int) -> None:
    found = read(saved(drawing(ink=WHITE - ground, ground=ground).convert("1", dither=Image.Dither.NONE), kind))
    assert overlap(found, EXPECTED) >= 0.9


@pytest.mark.parametrize("ink", [BLACK, PAPER, RED])
def test_gif_and_palette_png_with_a_transparent_entry(ink: tuple[int, int, int]) -> None:
    indices = Image.fromarray((np.asarray(drawing()) < 128).astype(np.uint8))
    image = indices.convert("P")
    for ground in (BLACK, PAPER):
        image.putpalette([*ground, *ink])
        for kind in ("GIF", "PNG"):
            assert overlap(read(saved(image, kind, transparency=0)), EXPECTED) >= 0.9


@pytest.mark.parametrize("ink", [BLACK, PAPER])
def test_bmp_with_alpha(ink: tuple[int, int, int]) -> None:
    image = on_transparent(ink, ink)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 200, -200, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks + bytes(52)
    content = b"BM" + struct.pack("<IHHI", 14 + 108 + 160_000, 0, 0, 14 + 108) + header + image.tobytes("raw", "BGRA")
    assert np.abs(read(content).astype(int) - EXPECTED).max() <= 6


@pytest.mark.parametrize("ink", [BLACK, PAPER])
def test_grey_png_with_one_transparent_level(ink: tuple[int, int, int]) -> None:
    grey = Image.fromarray(np.where(np.asarray(drawing()) < 128, ink[0], 7).astype(np.uint8))
    content = saved(grey, transparency=7)
    assert overlap(read(content), EXPECTED) >= 0.9


@pytest.mark.parametrize(("ink", "ground"), [(BLACK, PAPER), (PAPER, BLACK), (RED, YELLOW)])
@pytest.mark.parametrize("shape", ["ellipse", "rounded_rectangle"])
def test_a_picture_with_transparent_corners_keeps_its_own_ground(
    ink: tuple[int, int, int], ground: tuple[int, int, int], shape: str
) -> None:
    picture = colours(drawing(), ink, ground)
    card = Image.new("RGB", (400, 400), ground)
    card.paste(picture, (110, 110))
    alpha = Image.new("L", card.size)
    pen = ImageDraw.Draw(alpha)
    options = {"radius": 60} if shape == "rounded_rectangle" else {}
    getattr(pen, shape)([5, 5, 395, 395], fill=WHITE, **options)
    card.putalpha(alpha)
    assert overlap(read(saved(card)), EXPECTED) >= 0.95


def test_a_pale_drawing_whose_alpha_stays_low_is_ink() -> None:
    image = on_transparent(BLACK, PAPER)
    image.putalpha(image.getchannel("A").point([level // 3 for level in range(256)]))
    assert overlap(read(saved(image)), EXPECTED) >= 0.95


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_turns_it_upright(kind: str, orientation: int) -> None:
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


def test_a_phone_s_jpeg_of_two_pictures() -> None:
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
    """A photograph of it: paper less than white, ink less than black, uneven light, noise."""
    generator = np.random.default_rng(0)
    values = np.asarray(grey, np.float64) * 0.6 + 60 + np.linspace(-slope, slope, grey.width)
    return Image.fromarray((values + generator.normal(0, deviation, values.shape)).clip(0, WHITE).astype(np.uint8))


@pytest.mark.parametrize(("deviation", "slope"), [(0, 0), (3, 0), (10, 0), (0, 30), (4, 20)])
@pytest.mark.parametrize("ground", [0, WHITE])
def test_noise_and_uneven_light_are_no_ink(deviation: float, slope: float, ground: int) -> None:
    found = read(saved(noisy(drawing(400, WHITE - ground, ground), deviation, slope)))
    assert overlap(found, EXPECTED) >= 0.85


def test_faint_ink_is_stretched() -> None:
    found = read(saved(drawing().point([200 + level * 15 // WHITE for level in range(256)])))
    assert overlap(found, EXPECTED) >= 0.9


def test_a_thin_line_on_a_large_sheet_is_ink() -> None:
    sheet = Image.new("L", (3000, 3000), WHITE)
    ImageDraw.Draw(sheet).line([(500, 300), (1500, 300), (800, 2400)], fill=0, width=2)
    found = read(saved(sheet))
    assert found.max() == WHITE
    assert 25 <= bits(found).sum() <= 110  # about 30 pixels long, one or two wide
    assert len(np.unique(found)) > 20  # smooth edges: nothing was rounded on the way


def test_what_touches_the_edges_is_ink() -> None:
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
def test_without_ink(name: str) -> None:
    with pytest.raises(ImageError, match=r"^a\.png: no ink found: .*; draw one digit in a colour that stands out"):
        images.prepare(images.decode(saved(NOTHING[name]), "a.png"), "a.png")


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


# Files that are no images.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty (0 bytes); a file of one of these formats is needed: PNG, JPEG, BMP, GIF, TIFF"),
        (b"hello", "not an image of a known format; known: PNG, JPEG, BMP, GIF, TIFF"),
        (saved(drawing(), "PPM"), "not an image of a known format"),
        (saved(drawing())[:100], "damaged, or of a kind that is not read ("),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_no_image(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        images.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_a_truncated_file(kind: str) -> None:
    generator = np.random.default_rng(0)
    content = saved(Image.fromarray(generator.integers(0, 256, (60, 60), dtype=np.uint8)), kind)
    assert read(content).shape == (28, 28)
    with pytest.raises(ImageError, match=r"^x: (damaged|not an image)"):
        read(content[: len(content) // 2])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """A few bytes that declare so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def gif_of(width: int, height: int) -> bytes:
    """A small screen, and a frame that declares so many pixels."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def tiff_of(width: int, height: int) -> bytes:
    content = bytearray(saved(drawing(), "TIFF"))
    for tag, value in ((256, width), (257, height)):
        at = next(i for i in range(8, len(content), 2) if content[i : i + 8] == struct.pack("<HHI", tag, 4, 1))
        content[at + 8 : at + 12] = struct.pack("<I", value)
    return bytes(content)


@pytest.mark.parametrize("bomb", [png_of, gif_of, bmp_of, jpeg_of, tiff_of])
@pytest.mark.parametrize("side", [8193, 10_000, 50_000])  # ours; Pillow's warning; Pillow's error
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    bomb: Callable[[int, int], bytes], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bomb(side, side)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=rf"^x: too large: .*({side} x {side}|{side * side}) pixels.*") as caught:
        read(content)
    assert str(caught.value).endswith(" At most 67108864 pixels (64 megapixels) are read; scale the image down")


def test_the_largest_image_is_read() -> None:
    sheet = Image.new("1", (8192, 8192))
    sheet.paste(1, (3000, 3000, 5000, 6000))
    assert bits(read(saved(sheet))).sum() == 20 * 13


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(images.LARGEST_FILE + 1)  # sparse: takes no room
    with pytest.raises(ImageError, match=f"^{path}: 536870913 bytes, at most 536870912 are read; save"):
        images.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    with pytest.raises(ImageError) as caught:
        images.load(images.find(path)[0])
    assert (
        str(caught.value) == f"{path}: cannot be read (No such file or directory); check the name and the permissions"
    )


def test_an_unreadable_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # as root in a container, nothing is denied

    path = tmp_path / "a.png"
    path.write_bytes(saved(drawing()))
    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(Path, "iterdir", denied)
    for call, about in ((images.load, path), (images.find, tmp_path)):
        with pytest.raises(ImageError) as caught:
            call(about)
        assert str(caught.value) == f"{about}: cannot be read (Permission denied); check the name and the permissions"


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="not a regular file"):
        images.load(tmp_path / "a.png")
    with pytest.raises(ImageError, match="a folder without images"):
        images.find(tmp_path)


def test_a_folder_stands_for_the_images_directly_in_it_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "10.tif", "9.gif", "notes.txt", ".hidden.png", "c.bmp"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "inner.png").mkdir()
    (tmp_path / "inner.png" / "d.png").write_bytes(b"x")
    assert [path.name for path in images.find(tmp_path)] == ["10.tif", "9.gif", "a.jpeg", "b.PNG", "c.bmp"]
    assert images.find(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]  # a file that is named is tried


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError) as caught:
        images.find(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: a folder without images; files directly in it whose names end in .bmp, .gif, .jpeg, .jpg, .png, "
        ".tif, .tiff are read: name a folder that holds such files, or name the files"
    )


# Fuzzing: an image or an `ImageError`, nothing else. pytest makes warnings errors.

FUZZ = settings(max_examples=150, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("dark on light", "PNG", {}),
    ("black on transparent white", "PNG", {}),
    ("16 bits", "PNG", {}),
    ("palette", "PNG", {"bits": 4}),
    ("dark on light", "PNG", {"save_all": True, "append_images": [drawing().rotate(90)]}),
    ("dark on light", "JPEG", {}),
    ("rgb", "JPEG", {"progressive": True, "exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + bytes(12)}),
    ("rgb", "BMP", {}),
    ("palette", "BMP", {}),
    ("palette", "GIF", {}),
    ("dark on light", "GIF", {"save_all": True, "append_images": [drawing().rotate(90)]}),
    ("rgb", "TIFF", {}),
    ("16 bits", "TIFF", {"compression": "tiff_lzw"}),
    ("dark on light", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("rgb", "TIFF", {"compression": "jpeg"}),
]
SEEDS = [saved(SAME[name], kind, **options) for name, kind, options in KINDS]
MAGIC = [
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+",
]  # fmt: skip


def image_or_error(content: bytes) -> None:
    with contextlib.suppress(ImageError):
        found = read(content)
        assert found.shape == (28, 28)
        assert found.dtype == np.uint8
        assert found.max() == WHITE


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", *MAGIC]))
def test_random_bytes(content: bytes, magic: bytes) -> None:
    image_or_error(magic + content)


@FUZZ
@given(st.sampled_from(SEEDS), st.floats(0, 1))
def test_truncated_files(content: bytes, share: float) -> None:
    image_or_error(content[: int(share * len(content))])


places = st.one_of(st.integers(0, 200), st.integers(0, 50_000))  # most of the format is in the first bytes


@settings(FUZZ, max_examples=400)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6))
@example(SEEDS[0], [(16, 127)])  # two thousand million columns
def test_altered_files(content: bytes, changes: list[tuple[int, int]]) -> None:
    altered = bytearray(content)
    for place, value in changes:
        altered[place % len(altered)] = value
    image_or_error(bytes(altered))


@FUZZ
@given(st.sampled_from(SEEDS), places, st.binary(max_size=8), st.integers(0, 40))
def test_files_with_bytes_lost_and_added(content: bytes, place: int, added: bytes, lost: int) -> None:
    at = place % len(content)
    image_or_error(content[:at] + added + content[at + lost :])
