"""An MLflow server as teams run it: PostgreSQL, artifacts through it, passwords; and a way to it that can break."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from support import peers

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
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env={**environment, **settings}, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", folder / "server.log")
        yield port
    finally:
        end(process)


def wait_for(address: str, log: Path, seconds: float = 120) -> None:
    """Until a server answers, also with an error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {address}\n{log.read_text()[-3000:]}"
            time.sleep(0.2)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its workers."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.terminate()
    process.terminate()
    process.wait(30)


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
            _end(each)
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


def _end(link: socket.socket) -> None:
    """Close a socket, also where another thread waits on it."""
    with suppress(OSError):  # never connected
        link.shutdown(socket.SHUT_RDWR)
    link.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    _end(sink)
