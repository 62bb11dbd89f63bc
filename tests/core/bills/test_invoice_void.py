"""Voiding an invoice whose lines have been, or will be, corrected."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import BillWorld, Definitions, at, lines_of
from tests.fixtures.catalog_bodies import Body

HOOKS = {"enableDraftSyncHook": False, "enableIssuingSyncHook": False}


def voided(then: str) -> Body:
    return {"reason": "wrong", "action": {"percentage": 100, "action": {"type": then}}}


def tokens_billed() -> tuple[BillWorld, StoredInvoice]:
    """January's 5000 tokens are billed for 50."""
    world = BillWorld(Definitions(app=HOOKS))
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "5000")
    world.until(at("2026-02-02"))
    return world, next(one for one in world.billed() if ("Tokens", "2026-01-01", "50") in lines_of(one))


@pytest.mark.parametrize(("usage", "total"), [("4000", "40"), ("6000", "60")])
def test_a_correction_that_waits_becomes_the_line_of_a_void_invoice(usage: str, total: str) -> None:
    world, made = tokens_billed()
    world.use(at("2026-01-03"), usage)
    world.until(world.now_s + 60)
    assert [name for name, _, _ in lines_of(world.gathering())] == [
        "Base fee",
        "Tokens",
        "Tokens: correction",
    ]
    world.do("invoice.void", voided("pending"), id=made.content.id)
    waiting = [(name, start) for name, start, _ in lines_of(world.gathering())]
    assert waiting.count(("Tokens", "2026-01-01")) == 1 and "Tokens: correction" not in dict(waiting)
    world.until(at("2026-03-02"))
    again = [line for one in world.billed() if one.progress.state != "voided" for line in lines_of(one)]
    assert [line for line in again if line[:2] == ("Tokens", "2026-01-01")] == [
        ("Tokens", "2026-01-01", total)
    ]
