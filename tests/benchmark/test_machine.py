"""The description of the machine, and what must not be in it."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pytest

from bnnlib.benchmark import machine
from bnnlib.benchmark.machine import Machine
from bnnlib.benchmark.prediction import record

X86 = "processor\t: 0\nmodel name\t: A Processor @ 3 GHz\nflags\t\t: fpu popcnt avx2 avx512f avx512_vpopcntdq_not\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve2\nCPU part\t: 0xd40\n"


def test_cpuinfo_of_x86_and_arm() -> None:
    assert machine.parse_cpuinfo(X86 * 2) == ("A Processor @ 3 GHz", ["popcnt", "avx2", "avx512f"])
    assert machine.parse_cpuinfo(ARM) == ("", ["asimd"])
    assert machine.parse_cpuinfo("") == ("", [])


def test_neither_host_nor_paths_are_recorded() -> None:
    text = json.dumps([asdict(machine.describe()), machine.versions(record.PACKAGES)])
    assert platform.node() not in re.findall(r"[\w.-]+", text)
    assert str(Path.cwd()) not in text


def test_a_system_without_cpuinfo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    found = machine.describe()
    assert found.processor
    assert (found.isa, found.cores >= 1, found.memory_gib > 0) == ([], True, True)


@pytest.mark.parametrize(("load", "warnings"), [(0.5, 0), (0.51, 1)])
def test_a_busy_machine_is_warned_about(load: float, warnings: int) -> None:
    told: list[str] = []
    machine.warn_if_busy(Machine("A Processor", "x86_64", "Linux", 2, [], 16.0, load), told.append)
    assert len(told) == warnings
    assert all(f"load average {load}" in line for line in told)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    expected = {"python": platform.python_version(), "numpy": metadata.version("numpy"), "no-such-package": None}
    assert machine.versions(("numpy", "no-such-package")) == expected
