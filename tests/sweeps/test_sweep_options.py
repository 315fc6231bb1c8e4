"""Options that a sweep refuses before any training; where its workers keep data, and the code that they compare."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import imports
from support.clone import Bnn
from support.paths import ROOT

from bnnlib.core.extras import MissingExtraError
from bnnlib.sweeps import backends, worker
from bnnlib.sweeps.backends import Workers
from bnnlib.sweeps.grid import SweepError


def test_the_fingerprint_covers_all_code_that_computes() -> None:
    """All that training, scoring and preparing import, except edges and the parameters, whose values are in the key."""
    modules = ("training/loop", "scoring/evaluation", "core/runtime", "data/prepare")
    files = {file for module in modules for file in imports.closure(f"bnnlib/{module}.py")}
    needed = {file.removeprefix("bnnlib/") for file in files if not file.endswith("__init__.py")}
    edges = {f"core/{name}.py" for name in ("errors", "files", "fingerprint", "system")}
    edges |= {"config/params.py", "config/messages.py", "data/sources.py"}
    assert {file for file in needed - edges if not file.startswith(worker.CODE)} == set()


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"BNN_CACHE_DIR": "/shared/bnn", "XDG_CACHE_HOME": "/x"}, Path("/shared/bnn")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/bnn")),
        ({}, Path.home() / ".cache/bnn"),
    ],
)
def test_where_prepared_data_are_kept(environ: dict[str, str], folder: Path) -> None:
    assert worker.cache_folder(environ) == folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "1,3", "--seeds", "0,"], "error: the sweep's options: 2 errors\n  --seeds: seed: ''"),
        (
            ["--topologies", "pooled,poled"],
            "error: the sweep's options: 1 error\n  --topologies: model.topology: 'poled' is not allowed; "
            "allowed: pooled, kb1, kb2",
        ),
        (["--backend", "dask"], "error: --backend dask needs --scheduler ADDRESS"),
        (["--scheduler", "tcp://h:1"], "error: --scheduler tcp://h:1 is for --backend dask, but the backend is loky"),
        (["--backend", "dask", "--scheduler", "tcp://h:1", "--jobs", "2"], "error: --jobs 2 is for --backend loky"),
        (["--data", "elsewhere"], "error: elsewhere/mnist.sha256: cannot be read"),
    ],
)
def test_bad_options_end_before_anything_is_trained_or_written(bnn: Bnn, arguments: list[str], message: str) -> None:
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    code, output, _ = bnn("sweep", *arguments)
    assert isinstance(code, str)
    assert code.startswith(message)
    assert output == ""
    assert [path.name for path in Path().iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [("tcp://127.0.0.1:9", "no Dask scheduler answers there"), ("gopher://x", "no Dask scheduler answers there")],
)
def test_a_cluster_out_of_reach_is_named(scheduler: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "CONNECT_S", 1)
    with pytest.raises(SweepError, match=f"{scheduler}: {message}"):
        next(backends.results([], {}, Workers("dask", scheduler=scheduler)))


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"needs distributed.*bnnlib\[cluster\]"):
        next(backends.results([], {}, Workers("dask", scheduler="tcp://127.0.0.1:9")))
