"""The conditions of a measurement: machine, versions, date. No names of hosts, no paths."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

CPUINFO = Path("/proc/cpuinfo")
# Instructions that one of the contestants looks for, by their names in Linux.
FLAGS = ("popcnt", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq", "avx512_bitalg", "asimd", "sve")
BUSY = 0.5  # load average above which other programs disturb a measurement


@dataclass(frozen=True)
class Machine:
    """``cores``: that this process may use. ``isa``: the `FLAGS` that the processor has.

    ``load_average``: mean number of programs that used or waited for a core in the last minute; near 0 if idle.
    """

    processor: str
    architecture: str
    system: str
    cores: int
    isa: list[str]
    memory_gib: float
    load_average: float


def describe() -> Machine:
    """Describe this machine."""
    processor, isa = parse_cpuinfo(CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else "")
    return Machine(
        processor=processor or platform.processor() or "unknown",
        architecture=platform.machine(),
        system=platform.system(),
        cores=cores(),
        isa=isa,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load_average=round(psutil.getloadavg()[0], 2),
    )


def warn_if_busy(machine: Machine, tell: Callable[[str], object]) -> None:
    """Warn if other programs use the machine."""
    if machine.load_average > BUSY:
        tell(f"warning: load average {machine.load_average}: other programs run too and will disturb the times")


def conditions(machine: Machine, packages: Sequence[str], date: datetime.date) -> dict[str, Any]:
    """What every record of a measurement begins with, as JSON values."""
    return {"date": date.isoformat(), "machine": asdict(machine), "versions": versions(packages)}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_cpuinfo(text: str) -> tuple[str, list[str]]:
    """Model name ("" if there is none, as on ARM) and `FLAGS` in Linux's /proc/cpuinfo."""
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    listed = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    words = set(listed[1].split()) if listed else set()
    return name[1].strip() if name else "", [flag for flag in FLAGS if flag in words]


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Python and these packages; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
