"""The page of a customer's credits: every text is escaped, nothing runs, and it shows each grant."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from pipeline.api.invoices.page import credits_response, rendered_credits
from pipeline.core.invoices.printed_credits import PrintedCredits, printed_credits
from tests.api.invoices.test_page import EVIL, Page
from tests.core.bills.test_customer_credits import CreditWorld
from tests.fixtures.credits_to_print import CREDITS, spent


def texts(world: CreditWorld) -> PrintedCredits:
    return printed_credits("Acme", world.grants(), world.published.ledger.values(), world.now_s * 1000, "UTC")


@pytest.mark.parametrize("name", CREDITS)
def test_every_text_is_on_the_page(name: str) -> None:
    page = texts(CREDITS[name]())
    found = Page(rendered_credits(page))
    shown = [page.customer, page.as_of, *(one.amount for one in page.balances)]
    shown += [note for one in (*page.balances, *page.grants) for note in one.notes]
    shown += [text for one in page.grants for text in (one.name, one.expires, one.left, one.amount)]
    shown += [text for one in page.movements for text in one]
    assert [text for text in shown if text not in found.text] == []
    assert ("There are no credits." in found.text) == (name == "none")
    rows = [tag for tag, _ in found.tags if tag == "tr"]
    tables = bool(page.grants) + bool(page.movements)
    assert len(rows) == len(page.grants) + len(page.movements) + tables


def test_texts_are_escaped_and_nothing_runs_or_is_loaded() -> None:
    page = texts(spent())
    grant = page.grants[0]._replace(name=EVIL, notes=(EVIL,))
    moved = page.movements[0]._replace(name=EVIL)
    html = rendered_credits(page._replace(customer=EVIL, grants=(grant,), movements=(moved,)))
    found = Page(html)
    assert found.text.count(EVIL) == 5
    assert {tag for tag, _ in found.tags} & {"script", "img", "link", "iframe", "form", "a"} == set()
    assert {name for _, attributes in found.tags for name in attributes} & {"style", "src", "href"} == set()
    assert "url(" not in html and "@import" not in html


def test_the_policy_allows_its_own_style_only() -> None:
    answer = credits_response(texts(spent()))
    style = re.search(r"<style>(.*?)</style>", bytes(answer.body).decode(), re.DOTALL)
    assert style is not None
    allowed = b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{allowed}'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "prefers-color-scheme: dark" in style[1] and "@media print" in style[1]


def test_older_transactions_are_counted() -> None:
    page = texts(spent())._replace(left_out=3)
    assert "3 older transactions are not shown." in Page(rendered_credits(page)).text
