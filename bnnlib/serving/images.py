"""Image files to images like MNIST's: a light digit on black, uint8 (28, 28)."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnnlib.serving.decoding import ImageError, decode
from bnnlib.serving.preparation import Digit, digits, only, prepare

__all__ = ["ImageError", "find", "load", "load_digits"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
OTHERS = frozenset({".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".pdf", ".raw", ".dng", ".cr2", ".nef"})
UNREAD = f"images of these kinds are: {', '.join(sorted(SUFFIXES))}; save it as PNG or JPEG"
LARGEST_FILE = 1 << 27  # bytes


def find(path: Path) -> list[Path]:
    """The file itself, or a folder's image files in the order of their names.

    Files are images by their suffix; hidden files and folders inside the folder are skipped.
    """
    try:
        if not path.is_dir():
            return [path]
        found = sorted(item for item in path.iterdir() if _looks_like_image(item))
    except OSError as error:
        raise _unreadable(path, error) from error
    if not found:
        raise ImageError(
            f"{path}: a folder without images; files directly in it whose names end in "
            f"{', '.join(sorted(SUFFIXES))} are read: name a folder that holds such files, or name the files"
        )
    return found


def passed_over(path: Path) -> list[Path]:
    """The files of a folder that are images of a kind that is not read, by their names."""
    try:
        return sorted(item for item in path.iterdir() if item.suffix.lower() in OTHERS) if path.is_dir() else []
    except OSError:
        return []  # `find` tells what is wrong with the folder


def load(path: Path) -> NDArray[np.uint8]:
    """An image file as an image like MNIST's, uint8 (28, 28); `ImageError` names the file and what is wrong."""
    return prepare(decode(_read(path), str(path)), str(path))


def load_digits(path: Path, multi: bool) -> list[Digit]:
    """The digits of an image file from left to right, exactly one unless ``multi``; `ImageError` as in `load`."""
    grey = decode(_read(path), str(path))
    return digits(grey, str(path)) if multi else [only(digits(grey, str(path)), str(path))]


def _looks_like_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path}: not a regular file; name an image file or a folder of them")
        if status.st_size > LARGEST_FILE:
            raise ImageError(f"{path}: {status.st_size} bytes, at most {LARGEST_FILE} are read; save the image smaller")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions")
