"""A digit drawn with Pillow, in every mode and on every background, and what becomes of it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bnnlib.serving.decoding import decode
from bnnlib.serving.preparation import prepare

WHITE = 255
EXTENSIONS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"}
STROKE = 64  # of 255: pixels at least this bright belong to the strokes


def drawing(size: int = 200, foreground: int = 0, background: int = WHITE) -> Image.Image:
    """A 7 off the centre of a square sheet, mode L, drawn large and scaled down for smooth edges.

    Its centre of mass is not near the middle between two pixels, where rounding would decide to which it is shifted.
    """
    large = Image.new("L", (800, 800), background)
    pen = ImageDraw.Draw(large)
    pen.line([(120, 80), (560, 80), (340, 560)], fill=foreground, width=70, joint="curve")
    return large.resize((size, size), Image.Resampling.BOX)


def enlarged(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Dark on light, scaled."""
    scaled = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return Image.fromarray(WHITE - np.asarray(scaled))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes) -> NDArray[np.uint8]:
    return prepare(decode(content, "x"), "x")


def bits(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The strokes, with their pale edges."""
    return image >= STROKE


def overlap(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Pixels of the strokes in both, over those in either."""
    return float((bits(left) & bits(right)).sum() / (bits(left) | bits(right)).sum())


EXPECTED = read(saved(drawing()))


def colours(image: Image.Image, foreground: tuple[int, int, int], background: tuple[int, int, int]) -> Image.Image:
    """A black on white drawing in two colours."""
    share = np.asarray(image, np.float64)[:, :, None] / WHITE
    return Image.fromarray((share * background + (1 - share) * foreground).round().astype(np.uint8))


def on_transparent(foreground: tuple[int, int, int], hidden: tuple[int, int, int], size: int = 200) -> Image.Image:
    """The drawing as alpha: ``hidden`` is the colour of the pixels that are fully transparent."""
    alpha = drawing(size, WHITE, 0)
    visible = np.asarray(alpha)[:, :, None] > 0
    image = Image.fromarray(np.where(visible, foreground, hidden).astype(np.uint8))
    image.putalpha(alpha)
    return image


def deep(factor: int, background: int = WHITE) -> Image.Image:
    """Values of 16 bits: a dark digit on a light background, or light on dark."""
    values = np.asarray(drawing(foreground=WHITE - background, background=background), np.uint16) * factor
    return Image.fromarray(values.astype(np.uint16))


BLACK, PAPER, RED, GREEN, YELLOW = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 130, 0), (255, 255, 0)
SAME = {
    "dark on light": drawing(),
    "light on dark": drawing(foreground=WHITE, background=0),
    "rgb": drawing().convert("RGB"),
    "rgb, light on dark": drawing(foreground=WHITE, background=0).convert("RGB"),
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
    "16 bits, light on dark": deep(257, background=0),
    "12 of 16 bits": deep(16),
}
