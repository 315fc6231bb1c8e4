"""The generated parts of a page, each between two comment lines; the rest of the page is written by hand."""

from __future__ import annotations

import shlex

from bnnlib.core.errors import BnnError


class PageError(BnnError):
    """A page lacks a marker, the reports lack what a part shows, or a page is stale."""


def begin(part: str) -> str:
    """The line above a part."""
    return f"<!-- {part}: written by `bnn readme` from reports/; edits are lost -->"


def end(part: str) -> str:
    """The line below a part."""
    return f"<!-- end of {part} -->"


def filled(text: str, part: str, content: str, page: str) -> str:
    """The page's text with ``content`` as a part; `PageError` unless both its markers are there once, in order."""
    way_out = f"; correct it, or restore the committed page, without your edits: `git checkout -- {shlex.quote(page)}`"
    for marker in (begin(part), end(part)):
        if text.count(marker) != 1:
            raise PageError(f"{page}: the marker {marker} occurs {text.count(marker)} times, expected once{way_out}")
    head, _, rest = text.partition(begin(part))
    _, found, tail = rest.partition(end(part))
    if not found:
        raise PageError(f"{page}: the marker {end(part)} comes before {begin(part)}{way_out}")
    return f"{head}{begin(part)}\n\n{content}\n\n{end(part)}{tail}"
