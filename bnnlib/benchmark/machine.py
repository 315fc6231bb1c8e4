"""The machine and the versions that a measurement was made with. No names of hosts, no paths."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

CPUINFO = Path("/proc/cpuinfo")
# As Linux names them: those that one of the contestants looks for.
FLAGS = ("popcnt", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq", "avx512_bitalg", "asimd", "sve")


@dataclass(frozen=True)
class Machine:
    """``cores``: those this process may use. ``isa``: extensions of the instruction set, of `FLAGS`.

    ``load_average``: programs that wanted a core in the minute before; near 0 on an idle machine.
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


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_cpuinfo(text: str) -> tuple[str, list[str]]:
    """Model name ("" where there is none, as on ARM) and flags of Linux's /proc/cpuinfo."""
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
