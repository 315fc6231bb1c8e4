"""Digests are equal for equal values and for code whose text does the same; otherwise they differ."""

from __future__ import annotations

import pytest

from bnnlib.core import fingerprint

SOURCE = '''"""A module."""
LIMIT = 3


def double(x: int) -> int:
    """Double it."""
    return 2 * x
'''


def test_order_of_keys_does_not_matter_but_order_of_a_list_does() -> None:
    assert fingerprint.of({"a": 1, "b": [1, 2]}) == fingerprint.of({"b": [1, 2], "a": 1})
    assert fingerprint.of([1, 2]) != fingerprint.of([2, 1])


def test_a_digest_is_the_same_in_every_process() -> None:
    # SHA-256 of the text {"a": 1}, by coreutils' sha256sum
    assert fingerprint.of({"a": 1}) == "f9d86028c6e0d64e"


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("LIMIT = 3", "LIMIT = 3  # of what"),
        SOURCE.replace('"""A module."""', '"""Another word for it."""'),
        SOURCE.replace('    """Double it."""\n', ""),
        SOURCE.replace("2 * x", "(2 *\n        x)"),
    ],
)
def test_comments_docstrings_and_line_breaks_of_code_do_not_matter(changed: str) -> None:
    assert changed != SOURCE
    assert fingerprint.of_code({"a": changed}) == fingerprint.of_code({"a": SOURCE})


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("2 * x", "3 * x"),
        SOURCE.replace("2 * x", "2 + x"),
        SOURCE.replace("LIMIT = 3", "LIMIT = 3.0"),
        SOURCE.replace("LIMIT = 3", "LIMIT = '3'"),
        SOURCE.replace("LIMIT", "BOUND"),
    ],
)
def test_what_code_does_changes_the_digest(changed: str) -> None:
    assert fingerprint.of_code({"a": changed}) != fingerprint.of_code({"a": SOURCE})


def test_the_name_of_a_module_changes_the_digest() -> None:
    assert fingerprint.of_code({"a": SOURCE}) != fingerprint.of_code({"b": SOURCE})
