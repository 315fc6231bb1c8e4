"""Repair the two files that DVC does not write atomically, where a killed DVC left them half-written."""

from __future__ import annotations

import configparser
import json
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bnnlib.core import system
from bnnlib.core.errors import BnnError

COMMITTED = "HEAD"


class RepairError(BnnError):
    """dvc.lock is half-written and git cannot restore it, or DVC lacks what it needs: a git repository, a user."""


def repair(root: Path) -> list[str]:
    """Remove a broken lock of running processes, restore a broken dvc.lock from git; says what was done.

    With the committed dvc.lock, stages that were finished since then run again; a training goes on from its checkpoint,
    and the data come from DVC's cache. Call it only while no DVC process is active. `RepairError` where DVC would
    refuse to run: without a git repository, or a name of the user.
    """
    done = []
    running, graph = root / ".dvc/tmp/rwlock", root / "dvc.lock"
    if running.exists() and not _is_json(running):
        running.unlink()
        done.append(f"removed {running.relative_to(root)}, which was half-written")
    if graph.exists() and not _is_whole(graph.read_text(encoding="utf-8", errors="replace"), root):
        _restore(root, graph.name)
        done.append(f"restored {graph.name} from the last commit, because it was half-written")
    if (root / ".dvc").is_dir():
        _require_git(root)
        _require_user()
    return done


def _require_git(root: Path) -> None:
    """DVC looks for a repository in its folder and above it, unless core.no_scm is set."""
    if any((folder / ".git").exists() for folder in (root, *root.parents)):
        return
    settings = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        settings.read([root / ".dvc/config", root / ".dvc/config.local"], encoding="utf-8")
        no_scm = settings.getboolean("core", "no_scm", fallback=False)
    except (configparser.Error, ValueError) as error:
        raise RepairError(f"{root / '.dvc'}: config or config.local is not valid: {error}") from error
    if not no_scm:
        raise RepairError(
            f"{root}: not in a git repository, which DVC needs; run `git init` there, or "
            "`dvc config --local core.no_scm true` to work without git"
        )


def _require_user() -> None:
    """DVC notes who runs it, and looks for settings in the home folder."""
    if system.user() is None:
        raise RepairError(
            "this user has no name, as in a container, and DVC needs one, and a home folder: `export USER=me HOME=/tmp`"
        )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _is_whole(lock: str, root: Path) -> bool:
    """Whether dvc.lock's text is complete: DVC fills the file from its start.

    Cut between two lines it is still valid, with fewer stages, which DVC would take for new ones. So it must have the
    stages and the outs that are in the committed one and still in dvc.yaml.
    """
    if not lock.endswith("\n"):
        return False
    stages = _stages(lock)
    entries = [entry for stage in stages.values() for kind in ("deps", "outs") for entry in stage.get(kind) or []]
    if not stages or not all(isinstance(entry, dict) and {"path", "md5", "size"} <= entry.keys() for entry in entries):
        return False
    committed = _stages(_git(root, "show", f"{COMMITTED}:./dvc.lock").stdout)
    graph = _stages((root / "dvc.yaml").read_text(encoding="utf-8") if (root / "dvc.yaml").exists() else "")
    return committed.keys() & graph.keys() <= stages.keys() and _outs(committed) & _outs(graph) <= _outs(stages)


def _stages(text: str) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock or dvc.yaml by name; none where the text is broken."""
    try:
        content = YAML(typ="safe", pure=True).load(text)
        return {name: dict(stage) for name, stage in content["stages"].items()}
    except (YAMLError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _outs(stages: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    """What the stages make: name of the stage, path."""
    return {(name, _path(out)) for name, stage in stages.items() for out in stage.get("outs") or []}


def _path(out: str | dict[str, Any]) -> str:
    """Of an out as dvc.lock writes it, with its hash, or dvc.yaml: alone, or as the key of its options."""
    if isinstance(out, str):
        return out
    return out["path"] if "path" in out else next(iter(out))


def _restore(root: Path, name: str) -> None:
    done = _git(root, "checkout", COMMITTED, "--", name)
    if done.returncode:
        raise RepairError(
            f"{root / name}: half-written, and git does not restore it ({done.stderr.strip()}); delete it: then "
            "every stage runs again, and trainings go on from their checkpoints"
        )


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    except OSError as error:  # there is no git
        return subprocess.CompletedProcess(words, 1, "", str(error))
