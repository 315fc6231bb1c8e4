"""The cache of compiled code, where files are damaged, the disk is full or processes differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba.core import caching, config
from support.paths import ROOT

from bnnlib.packed import jit

# Run in processes of its own: its arguments are added by compiled code.
PROGRAM = """
import sys
from bnnlib.packed import jit
@jit.kernel()
def added(x, y):
    return x + y
assert added(*map(int, sys.argv[1:])) == sum(map(int, sys.argv[1:]))
print(sum(added.stats.cache_misses.values()))
"""


def doubled(x: Any) -> Any:
    """To be compiled."""
    return 2 * x


def compilations(*parts: ModuleType) -> int:
    """How often a process that begins now would compile `doubled`, made of its own module and others."""
    kernel = jit.kernel(*parts)(doubled)
    assert kernel(21) == 42
    return sum(kernel.stats.cache_misses.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, as NUMBA_CACHE_DIR gives it."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def cached(folder: Path) -> Path:
    """The file of `doubled` in the cache."""
    assert [compilations(), compilations()] == [1, 0]
    (path,) = folder.rglob("*.nbc")
    return path


def flip(content: bytes, at: float) -> bytes:
    """Content with one bit changed, ``at`` a share of its length."""
    place = int(at * len(content))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: b"no code",
        lambda content: content[32:],  # a pickle alone
        *[lambda content, at=at: flip(content, at) for at in (0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)],
    ],
)
def test_a_damaged_file_is_replaced(cached: Path, damage: Callable[[bytes], bytes]) -> None:
    sound = cached.read_bytes()
    cached.write_bytes(damage(sound))
    assert [compilations(), compilations()] == [1, 0]


def test_a_file_of_other_versions_is_not_read(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "VERSIONS", ("other",))
    assert [compilations(), compilations()] == [1, 0]


@pytest.mark.usefixtures("cached")
def test_code_of_other_sources_is_replaced() -> None:
    assert [compilations(jit), compilations(jit), compilations()] == [1, 0, 1]


@pytest.mark.usefixtures("cached")
def test_each_type_has_code_of_its_own() -> None:
    for misses in (1, 0):
        kernel = jit.kernel()(doubled)
        assert [kernel(21), kernel(1.25)] == [42, 2.5]
        assert sum(kernel.stats.cache_misses.values()) == misses


def test_the_file_of_other_code_is_not_read(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "VERSIONS", ("other",))  # of the key, as the processor is
    compilations()
    (other,) = set(cached.parent.glob("*.nbc")) - {cached}
    shutil.copy(cached, other)
    assert [compilations(), compilations()] == [1, 0]


def test_a_folder_in_place_of_the_file_is_left(cached: Path) -> None:
    cached.unlink()
    cached.mkdir()
    assert [compilations(), compilations()] == [1, 1]


def test_on_a_full_disk_it_is_compiled_each_time(cached: Path) -> None:
    cached.unlink()
    cached.with_name(f".{cached.name}.tmp").symlink_to("/dev/full")
    assert [compilations(), compilations()] == [1, 1]


def test_a_folder_that_vanishes_later_is_made_again(folder: Path) -> None:
    kernel = jit.kernel()(doubled)
    shutil.rmtree(folder)
    assert kernel(21) == 42
    assert compilations() == 0


def test_a_folder_that_cannot_be_written_later_is_done_without(folder: Path) -> None:
    kernel = jit.kernel()(doubled)
    shutil.rmtree(folder)
    folder.touch()
    assert kernel(21) == 42


def test_without_a_folder_for_the_cache_the_code_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert compilations() == 1


def test_threads_compile_once(cached: Path) -> None:
    cached.write_bytes(b"")
    kernel = jit.kernel()(doubled)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(kernel, [21] * 8)) == {42}
    assert sum(kernel.stats.cache_misses.values()) == 1


def test_processes_with_different_processors_share_a_folder(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    processors = [{}, {}, {"NUMBA_CPU_NAME": "generic"}]

    def all_at_once() -> list[str]:
        command = [sys.executable, program, "1", "2"]
        started = [
            subprocess.Popen(command, env={**shared, **own}, text=True, stdout=subprocess.PIPE) for own in processors
        ]
        return [process.communicate()[0].strip() for process in started]

    assert set(all_at_once()) <= {"0", "1"}
    assert all_at_once() == ["0", "0", "0"]
    assert len([*tmp_path.rglob("*.nbc")]) == 2


def test_a_file_as_the_folder_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "file").touch()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "file")}
    command = [sys.executable, tmp_path / "program.py", "1", "2"]
    found = [subprocess.run(command, env=variables, check=True, capture_output=True).stdout for _ in range(2)]
    assert found == [b"1\n", b"0\n"]  # Numba takes the program's own __pycache__
