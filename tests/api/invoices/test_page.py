"""The page of an invoice: every text is escaped, nothing runs, and it shows each line."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import msgspec
import pytest

from pipeline.api.invoices.page import page_response, rendered
from pipeline.core.invoices.printed_invoice import printed_invoice
from pipeline.core.invoices.printed_line import PrintedLine, PrintedRow
from tests.fixtures.invoices_to_print import INVOICES, NUMBERS, small

EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """What a browser sees. tags: with their attributes. text: of all that is shown, joined by spaces."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown.append(data)


@pytest.mark.parametrize("name", INVOICES)
def test_every_text_is_on_the_page(name: str) -> None:
    texts = printed_invoice(INVOICES[name](), NUMBERS)
    page = Page(rendered(texts))
    rows: list[PrintedLine | PrintedRow] = list(texts.lines)
    rows += [row for line in texts.lines for row in line.rows]
    shown = [texts.number, *texts.issues, *texts.footnotes, *(fact.value for fact in texts.facts)]
    shown += [one.amount for one in texts.totals]
    shown += [text for row in rows for text in (row.name, row.quantity, row.unit_price, row.amount)]
    assert [text for text in shown if " ".join(text.split()) not in page.text] == []
    bodies = [attributes for tag, attributes in page.tags if tag == "tbody"]
    assert len(bodies) == max(1, len(texts.lines)) + 1


def test_texts_are_escaped() -> None:
    stored = small()
    lines = tuple(msgspec.structs.replace(line, name=EVIL, description=EVIL) for line in stored.content.lines)
    customer = msgspec.structs.replace(stored.content.customer, name=EVIL)
    content = msgspec.structs.replace(
        stored.content, lines=lines, customer=customer, description=EVIL, number=EVIL
    )
    page = Page(rendered(printed_invoice(msgspec.structs.replace(stored, content=content), {})))
    assert page.text.count(EVIL) == 2 * len(lines) + 2
    assert "script" not in {tag for tag, _ in page.tags}


def test_nothing_runs_and_nothing_is_loaded() -> None:
    html = rendered(printed_invoice(INVOICES["long"](), {}))
    page = Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "form", "a"} == set()
    assert {name for _, attributes in page.tags for name in attributes} & {"style", "src", "href"} == set()
    assert "url(" not in html and "@import" not in html


def test_the_policy_allows_its_own_style_only() -> None:
    answer = page_response(printed_invoice(small(), {}))
    style = re.search(r"<style>(.*?)</style>", bytes(answer.body).decode(), re.DOTALL)
    assert style is not None
    allowed = b64encode(sha256(style[1].encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
