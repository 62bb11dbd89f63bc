"""Every page of the repository: its words are plain and its links lead somewhere. Commands in it run in test_readme."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_tidy import PIPELINE, ROOT, name_of, unplain_words

PARTS = ("pipeline", "topics", "schemas", "deploy", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for part in PARTS for page in (ROOT / part).rglob("*.md"))])
DOCUMENTS = [
    *(page for page in PAGES if (ROOT / "tests") not in page.parents),
    *(ROOT / "topics").glob("*.toml"),
    *(path for path in (ROOT / "deploy").glob("*.*") if path.suffix != ".md"),
    ROOT / "docker-compose.yml",
]
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def test_documents_use_plain_words() -> None:
    found = {name_of(path): unplain_words(path.read_text("utf-8")) for path in DOCUMENTS}
    assert {name: words for name, words in found.items() if words} == {}


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """The relative links of a page that lead to no file or folder, or to no heading of it."""
    for place, anchor in _LINK.findall(page.read_text("utf-8")):
        found = page.parent / place if place else page
        if not found.exists():
            yield place
        elif anchor and anchor not in anchors(found.read_text("utf-8")):
            yield f"{place}#{anchor}"


def test_links_lead_to_files_and_headings() -> None:
    assert {name_of(page): broken for page in PAGES if (broken := list(broken_links(page)))} == {}


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# One: `two`\n[a](#one-two) [b](a.md#one-two) [c](http://x/y) [d](gone.md) [e](a.md#three) [f](#four)"
    )
    assert list(broken_links(page)) == ["gone.md", "a.md#three", "#four"]


def test_the_layout_names_every_package() -> None:
    layout = (PIPELINE / "README.md").read_text("utf-8").partition("## Layout")[2]
    packages = {path.parent.name for path in PIPELINE.glob("*/__init__.py")}
    assert {name for name in packages if f"{name}/`" not in layout} == set()
