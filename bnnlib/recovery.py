"""What a DVC that was killed leaves half-written, cleared away: it does not write its own two files atomically."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bnnlib.errors import BnnError


class RecoveryError(BnnError):
    """The graph's lock is broken and git cannot give it back."""


def mend(root: Path) -> list[str]:
    """Remove a broken lock of running processes, restore a broken dvc.lock from git; what was done, in words.

    With the committed dvc.lock DVC finds what had been finished since in its cache of runs. Call it when no DVC runs.
    """
    done = []
    running, graph = root / ".dvc/tmp/rwlock", root / "dvc.lock"
    if running.exists() and not _is_json(running):
        running.unlink()
        done.append(f"removed {running.relative_to(root)}, which was half-written")
    if graph.exists() and not _is_lock(graph):
        _restore(root, graph.name)
        done.append(f"restored {graph.name} from the last commit, for it was half-written")
    return done


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _is_lock(path: Path) -> bool:
    """Whether all of a lock's stages have what DVC demands of them."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, ValueError):
        return False
    stages = content.get("stages") if isinstance(content, dict) else None
    return isinstance(stages, dict) and all(
        isinstance(stage, dict) and _complete(stage.get("deps", [])) and _complete(stage.get("outs", []))
        for stage in stages.values()
    )


def _complete(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) and entry.get("md5") for entry in entries)


def _restore(root: Path, name: str) -> None:
    done = subprocess.run(["git", "checkout", "--", name], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise RecoveryError(
            f"{root / name}: half-written, and git does not restore it ({done.stderr.strip()}); delete it: DVC then "
            "looks for every stage in its cache of runs"
        )
