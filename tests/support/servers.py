"""Servers for tests, such as MLflow as teams run it: PostgreSQL, artifacts through it, passwords, a way that breaks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from support import peers

START_S = 120
USER, PASSWORD = "ada", "correct horse:battery@staple"
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/auth.db
admin_username = {user}
admin_password = {password}
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of Debian's packages, for as long as the block lasts; yields the address of an empty database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not programs:
        peers.missing("no PostgreSQL in /usr/lib/postgresql; try: apt install postgresql")
    control, port = programs[-1], free_port()
    # Not below pytest's folder, which other users may not enter; and PostgreSQL refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = f"{folder}/data"
        _as_postgres(control.with_name("initdb"), "-D", data, "-U", "runs", "--auth=trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _as_postgres(control, "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
        try:
            yield f"postgresql://runs:any@127.0.0.1:{port}/postgres"
        finally:
            _as_postgres(control, "-D", data, "-m", "immediate", "stop")


def _as_postgres(*command: object) -> None:
    root = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*root, *map(str, command)], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@contextmanager
def mlflow_server(folder: Path, database: str, environment: dict[str, str]) -> Iterator[int]:
    """`mlflow server` with basic authentication (`USER`, `PASSWORD`); yields its port."""
    port = free_port()
    (folder / "auth.ini").write_text(
        AUTH.format(folder=folder, user=USER, password=PASSWORD.replace("%", "%%")), encoding="utf-8"
    )
    settings = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    options = ["--app-name", "basic-auth", "--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *options]
    with served(command, f"http://127.0.0.1:{port}/health", folder / "server.log", folder, {**environment, **settings}):
        yield port


@contextmanager
def served(
    command: Sequence[str], page: str, log: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when ``page`` is there; ended with all that it started. ``log``: what it prints."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(page, process, log)
        yield process
    finally:
        _end(process)


def _wait_for(page: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        with suppress(OSError), urllib.request.urlopen(page, timeout=5):
            return
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started, and wait until they are gone."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for child in family:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            child.terminate()
    process.terminate()
    process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


class Way:
    """A way to a port of this machine that can be closed, as when a server restarts."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._listener: socket.socket | None = None
        self._links: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def close(self) -> None:
        assert self._listener is not None
        for each in [self._listener, *self._links]:
            _close(each)
        self._links.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # closed
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._links += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=[source, sink], daemon=True).start()


def _close(link: socket.socket) -> None:
    """Close a socket, also where another thread waits on it."""
    with suppress(OSError):  # never connected
        link.shutdown(socket.SHUT_RDWR)
    link.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    _close(sink)
