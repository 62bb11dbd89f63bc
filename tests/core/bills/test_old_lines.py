"""Lines that wait for longer than usage is kept."""

from __future__ import annotations

import pytest

from pipeline.core.bills.terms import BillTerms
from tests.core.bills.bill_world import DAY_S, BillWorld, Definitions, at, lines_of
from tests.core.bills.test_invoice_void import HOOKS, voided

SHORT = BillTerms(kept_s=70 * DAY_S)
BY_HAND = {"workflow": {"invoicing": {"autoAdvance": False}}}


@pytest.mark.parametrize(("kind", "sent"), [("approve", None), ("update", {"description": "x"})])
def test_a_draft_that_waits_for_a_client_keeps_its_lines(kind: str, sent: object) -> None:
    world = BillWorld(Definitions(profile=BY_HAND), SHORT)
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-06-03"))
    made = next(one for one in world.billed() if ("Tokens", "2026-01-01", "10") in lines_of(one))
    world.do(f"invoice.{kind}", sent, id=made.content.id)
    assert ("Tokens", "2026-01-01", "10") in lines_of(world.invoice(made.content.id))


def test_a_line_that_may_be_invoiced_much_later_keeps_its_usage() -> None:
    world = BillWorld(Definitions(app=HOOKS), SHORT)
    world.until(at("2026-01-02"))
    line = {
        "name": "Work", "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"},
        "invoiceAt": "2026-08-01T00:00:00Z",
        "rateCard": {"featureKey": "tokens", "price": {"type": "unit", "amount": "1"}},
    }  # fmt: skip
    world.do("invoice.pending-lines", {"currency": "EUR", "lines": [line]})
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "7")
    world.until(at("2026-08-03"))
    assert ("Work", "2026-01-01", "7") in [line for one in world.billed() for line in lines_of(one)]


def test_a_line_that_is_too_old_is_not_billed_again() -> None:
    world = BillWorld(Definitions(app=HOOKS), SHORT)
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-02-02"))
    made = next(one for one in world.billed() if ("Tokens", "2026-01-01", "10") in lines_of(one))
    world.do("invoice.payment-status", {"trigger": "payment_uncollectible"}, id=made.content.id)
    world.until(at("2026-06-03"))
    assert (
        world.refused("invoice.void", voided("pending"), id=made.content.id)
        == "invoice_line_not_billable_again"
    )
    world.do("invoice.void", voided("discard"), id=made.content.id)
