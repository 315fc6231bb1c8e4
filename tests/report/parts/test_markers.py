"""Where the generated parts of a page are, and that nothing else of it is touched."""

from __future__ import annotations

import pytest

from bnnlib.report.parts import markers
from bnnlib.report.parts.markers import PageError

BEGIN, END = markers.begin("table"), markers.end("table")
PAGE = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"


def test_only_the_part_between_the_markers_changes() -> None:
    assert markers.filled(PAGE, "table", "new", "page") == f"# Title\n\nbefore\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"


def test_writing_twice_changes_nothing() -> None:
    once = markers.filled(PAGE, "table", "a\n\nb", "page")
    assert once != PAGE
    assert markers.filled(once, "table", "a\n\nb", "page") == once


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", f"the marker {BEGIN} occurs 0 times"),
        (f"{BEGIN}\n", f"the marker {END} occurs 0 times"),
        (f"{END}\n", f"the marker {BEGIN} occurs 0 times"),
        (f"{BEGIN}{END}{BEGIN}", f"the marker {BEGIN} occurs 2 times"),
        (f"{BEGIN}{END}{END}", f"the marker {END} occurs 2 times"),
        (f"{END}\n{BEGIN}", f"the marker {END} comes before {BEGIN}"),
    ],
)
def test_markers_that_are_missing_doubled_or_swapped(text: str, problem: str) -> None:
    with pytest.raises(PageError) as caught:
        markers.filled(text, "table", "new", "docs/page.md")
    assert str(caught.value).startswith(f"docs/page.md: {problem}")
    assert "`git checkout -- docs/page.md`" in str(caught.value)
