"""Short digests that tell whether two values, or two states of the code, are the same."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnnlib.core import files

DIGITS = 16  # 64 bits: among a million values, two are the same with probability 3e-8


def of(value: Any) -> str:
    """Digest of a value made of what JSON knows; the order of a mapping's keys does not matter."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:DIGITS]


def of_code(sources: Mapping[str, str]) -> str:
    """Digest of Python sources by name, the same after a change of comments, docstrings or line breaks."""
    return of({name: _shape(ast.parse(source)) for name, source in sources.items()})


@functools.cache
def of_package(names: tuple[str, ...]) -> str:
    """Digest of modules of this package as they are on this machine: folders and files, relative to the package."""
    package = Path(__file__).resolve().parents[1]
    found = [
        path for name in names for path in ((package / name).glob("*.py") if "." not in name else [package / name])
    ]
    return of_code({path.relative_to(package).as_posix(): files.read_text(path) for path in found})


def _shape(node: Any) -> Any:
    """A syntax tree as nested lists. Empty fields are left out: newer Pythons add some."""
    if isinstance(node, list):
        return [_shape(each) for each in node if not _is_docstring(each)]
    if isinstance(node, ast.AST):
        fields = [[name, _shape(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return repr(node)


def _is_docstring(node: Any) -> bool:
    """Whether this is a statement that consists of a text only."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
