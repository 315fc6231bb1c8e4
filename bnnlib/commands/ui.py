"""The command `ui`: MLflow's pages for the store, and the addresses that show the study."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
import urllib.request
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from bnnlib.tracking.store import Store

ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104, compared with, not bound to
START_S = 120  # how long the browser is held back while MLflow starts


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to serve on.")] = 5000,
    host: Annotated[str, typer.Option(help="The address to serve on; 0.0.0.0 is all of this machine.")] = "127.0.0.1",
    allowed_hosts: Annotated[
        str | None, typer.Option(metavar="HOSTS", help="Names of this machine that other machines use, as box,box.lan.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the results in a browser.")] = False,
) -> None:
    """Browse the runs in MLflow, until Ctrl-C."""
    from bnnlib.tracking.store import find_store, set_defaults

    set_defaults()
    store = find_store(os.environ, Path.cwd())
    experiment = _experiment(store)
    if store.is_server:
        _show(f"The runs are on the server {store}.", without_user(store.uri), experiment, open_browser)
        return
    base = served_at(host, port)
    for line in advice(host, allowed_hosts):
        typer.echo(line)
    _show(f"MLflow shows {store} in about ten seconds; Ctrl-C ends it.", base, experiment, open_browser)
    # In the environment, because other users can read the command line, and the address may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = store.uri
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # a dozen processes that only run jobs
    serve = ["-m", "mlflow", "ui", "--host", host, "--port", str(port), "--workers", "1"]
    os.execv(sys.executable, [sys.executable, *serve, *security(allowed_hosts, port)])


def served_at(host: str, port: int) -> str:
    """The address of the pages for a browser on this machine."""
    name = "localhost" if host in ALL_ADDRESSES else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def advice(host: str, names: str | None) -> list[str]:
    """What to do where other machines can connect, but MLflow would refuse them."""
    if is_loopback(host) or names is not None:
        return []
    return [
        f"Other machines can connect to {host}, but MLflow refuses them (403 Invalid Host header), or shows no runs: "
        "name this machine as they call it with --allowed-hosts NAME."
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def security(names: str | None, port: int) -> list[str]:
    """MLflow's options for browsers that reach this machine under ``names``, and under those of itself.

    MLflow compares hosts with their port. Without the origins it answers, but refuses the lists of runs.
    """
    if names is None:
        return []
    given = [*filter(None, map(str.strip, names.split(","))), "localhost", "127.0.0.1", "[::1]"]
    hosts = [host for name in given for host in ([name] if _has_port(name) else [name, f"{name}:{port}"])]
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    return ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]


def without_user(uri: str) -> str:
    """A server's address without user and password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _experiment(store: Store) -> str:
    """The experiment's id, its runs of dead processes closed. `StoreError` where the store cannot be used."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from bnnlib.tracking import pipeline
    from bnnlib.tracking.experiment import ready
    from bnnlib.tracking.store import StoreError, shown

    try:
        experiment = ready(store)
        if not store.is_server:
            pipeline.close_stale(experiment)
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:  # ImportError: a driver of a database
        raise StoreError(
            f"MLflow at {store} cannot be used ({shown(error)}); start it, or correct MLFLOW_TRACKING_URI"
        ) from error
    return experiment


def _show(text: str, base: str, experiment: str, open_browser: bool) -> None:
    """Print where the study is shown; with ``open_browser`` let another process open it when it is."""
    from bnnlib.tracking import views

    results = views.address(base, experiment, views.RESULTS)
    curves = views.address(base, experiment, views.CURVES)
    typer.echo(f"{text}\nResults: {results}\nCurves:  {curves}")
    if open_browser:
        subprocess.Popen([sys.executable, "-m", __name__, base, results])


def _open_when_up(base: str, address: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=5):  # noqa: S310, our own address
            webbrowser.open(address)
            return
        time.sleep(0.5)


if __name__ == "__main__":
    _open_when_up(*sys.argv[1:])
