"""A file that is not an image, too large or damaged gives an `ImageError`, never a crash or a hang."""

from __future__ import annotations

import contextlib
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
from PIL import Image
from support.drawings import EXTENSIONS, SAME, WHITE, bits, drawing, read, saved

from bnnlib.serving import images
from bnnlib.serving.images import ImageError

# Files that are not images.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty (0 bytes); a file of one of these formats is needed: PNG, JPEG, BMP, GIF, TIFF, WEBP"),
        (b"hello", "not an image of a known format; known: PNG, JPEG, BMP, GIF, TIFF, WEBP"),
        (saved(drawing(), "PPM"), "not an image of a known format"),
        (saved(drawing())[:100], "damaged, or of a kind that is not read ("),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_what_is_not_an_image(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        images.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_a_truncated_file(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 20, (60, 60))  # so that nothing of the file can be left out
    content = saved(Image.fromarray((np.asarray(drawing(60)) * 0.9 + noise).clip(0, WHITE).astype(np.uint8)), kind)
    assert read(content).shape == (28, 28)
    with pytest.raises(ImageError, match=r"^x: (damaged|not an image)"):
        read(content[: len(content) // 2])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """A few bytes whose header declares this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def gif_of(width: int, height: int) -> bytes:
    """A small screen, and a frame that declares this size."""
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
        file.truncate(images.LARGEST_FILE + 1)  # sparse: takes no space on the disk
    with pytest.raises(ImageError, match=f"^{path}: 134217729 bytes, at most 134217728 are read; save"):
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


def test_a_pipe_is_not_a_file(tmp_path: Path) -> None:
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


def test_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("a.heic", "b.HEIF", "c.png", "d.jfif", "e.jpe", "f.webp", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in images.passed_over(tmp_path)] == ["a.heic", "b.HEIF"]
    assert [path.name for path in images.find(tmp_path)] == ["c.png", "d.jfif", "e.jpe", "f.webp"]
    assert images.passed_over(tmp_path / "a.heic") == []


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError) as caught:
        images.find(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: a folder without images; files directly in it whose names end in .bmp, .gif, .jfif, .jpe, "
        ".jpeg, .jpg, .png, .tif, .tiff, .webp are read: name a folder that holds such files, or name the files"
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
