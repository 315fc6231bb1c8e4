"""A hook of MkDocs: the site mirrors the repository, so that the links of a page work on GitHub and on the site.

README.md is the front page, the other pages stay in docs/. Files that a page links to are added where they are in the
repository: Markdown as pages, text as pages that show it, everything else (pictures, models) as it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

FRONT = "README.md"
LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)\s#]+)((?:#[^)\s]*)?\))")  # a relative one: its opening, target, the rest
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".csv": "", ".sha256": "", "": ""}
FENCE = "~~~~~~"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by the pages at their places in the repository, and what these link to."""
    root = Path(config.config_file_path).parent
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    named = [FRONT, *(f"docs/{path.name}" for path in sorted(Path(config.docs_dir).glob("*.md")))]
    for path in _closure(root, named):
        listed = InclusionLevel.INCLUDED if path in named else InclusionLevel.NOT_IN_NAV
        if _is_source(path):
            files.append(File.generated(config, f"{path}.md", content=_shown(root, path), inclusion=listed))
        else:
            files.append(File.generated(config, path, abs_src_path=str(root / path), inclusion=listed))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to text files lead to the pages that show them."""

    def shown(link: re.Match[str]) -> str:
        opening, target, rest = link.groups()
        known = files.get_file_from_path(f"{_resolved(page.file.src_uri, target)}.md")
        return f"{opening}{target}.md{rest}" if known else link[0]

    return LINK.sub(shown, markdown)


def _closure(root: Path, pages: list[str]) -> list[str]:
    """The pages, and all files of the repository that they and the Markdown files among these link to."""
    found = list(pages)
    for path in found:  # it grows meanwhile
        if path.endswith(".md"):
            found += [target for target in _targets(root, path) if target not in found]
    return found


def _targets(root: Path, path: str) -> Iterator[str]:
    text = (root / path).read_text(encoding="utf-8")
    for target in dict.fromkeys(_resolved(path, link[2]) for link in LINK.finditer(text)):
        if not target.startswith("..") and (root / target).is_file():
            yield target


def _resolved(path: str, target: str) -> str:
    """A link's target, from the repository's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _is_source(path: str) -> bool:
    return Path(path).suffix in LANGUAGES


def _shown(root: Path, path: str) -> str:
    """A page that shows a text file; the search leaves it out."""
    text = (root / path).read_text(encoding="utf-8")
    language = LANGUAGES[Path(path).suffix]
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n{FENCE}{language}\n{text}\n{FENCE}\n"
