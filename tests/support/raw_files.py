"""Two small raw files, as they are and compressed, with their checksums; and sources that have them, or fail."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable

import pytest

from bnnlib.data import sources
from bnnlib.data.sources import Source, SourceError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
CONTENT = {NAMES[0]: b"images " * 100, NAMES[1]: b"labels " * 10}
MANIFEST = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
GZIPPED = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
# Under the names that they are published with, compressed: checked and kept like this.
COMPRESSED = {f"{name}.gz": content for name, content in GZIPPED.items()}
COMPRESSED_MANIFEST = {name: hashlib.sha256(content).hexdigest() for name, content in COMPRESSED.items()}


def source(name: str, held: dict[str, bytes], asked: list[tuple[str, str]] | None = None) -> Source:
    """A source with these files; ``asked``: where it notes its name and each file that it is asked for."""

    def read(wanted: str) -> bytes:
        if asked is not None:
            asked.append((name, wanted))
        return held[wanted]

    return Source(name, lambda: read)


def failing(name: str, error: Exception) -> Source:
    """A source that cannot be opened."""

    def prepare() -> Callable[[str], bytes]:
        raise error

    return Source(name, prepare)


def failure(*tried: Source) -> list[str]:
    """The lines of the error when no source has the data."""
    with pytest.raises(SourceError) as caught:
        sources.fetch(MANIFEST, tried)
    return str(caught.value).splitlines()
