"""The project's own files that a module needs, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from support.paths import ROOT

PACKAGES = ("bnnlib", "stages")


def closure(path: str) -> set[str]:
    """The module's own file and all that it imports, directly or not, as paths from the root."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(direct(current))
    return found


def direct(path: str) -> set[str]:
    """The project's files that a module imports when it runs, also in functions, but not only for type checking."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {name for node in _executed(tree) for name in _imported(node)}
    return {file for name in names if name.split(".")[0] in PACKAGES for file in _files(name)}


def top_level(path: str) -> set[str]:
    """First words of all modules that a module imports, also in functions, except those only for type checking."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {name.split(".")[0] for node in _executed(tree) for name in _imported(node)}


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _executed(node)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _files(name: str) -> Iterator[str]:
    """A dotted name's file, where it is a module, and the packages above it, whose __init__ runs too."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        base = "/".join(parts[:depth])
        for candidate in (f"{base}/__init__.py", f"{base}.py"):
            if (ROOT / candidate).is_file():
                yield candidate
