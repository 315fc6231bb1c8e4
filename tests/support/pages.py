"""The pages that people read, and what they contain: blocks of code, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "models/README.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ENDS = {"&&", "||", "|", ";", ">"}  # of one command in a line


class Found(NamedTuple):
    """Something in a page; ``line``: where it begins, counted from 1."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}: {self.text}"


def blocks(language: str) -> list[Found]:
    """The blocks of code in a language, of all pages."""
    return [
        Found(page, text.count("\n", 0, match.start()) + 1, match[2])
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in FENCED.finditer(text)
        if match[1] == language
    ]


def spans() -> list[Found]:
    """The pieces of code within lines, of all pages."""
    return list(_matches(SPAN))


def links() -> list[Found]:
    """The targets of links and pictures, of all pages; not those to other sites."""
    return [found for found in _matches(LINK) if not re.match(r"[a-z]+:", found.text)]


def _matches(pattern: re.Pattern[str]) -> Iterator[Found]:
    """What a pattern finds outside of blocks of code."""
    for page in PAGES:
        # Of a block only the ends of its lines are left, so that later lines keep their numbers.
        text = FENCED.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
        for match in pattern.finditer(text):
            yield Found(page, text.count("\n", 0, match.start()) + 1, match[1])


def commands() -> list[tuple[Found, list[str]]]:
    """The commands of all shell blocks, split into words; without comments and settings of the environment."""
    found = []
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            found += [(block._replace(text=line), words) for words in _split(line)]
    return found


def _split(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word not in ENDS:
            words.append(word)
        elif words:
            yield words
            words = []
        if len(words) == 1 and re.match(r"[A-Z_]+=", word):  # a setting of the environment
            words = []
