"""What Stripe reports and billing refuses: an issue of the invoice, and the records that follow are applied."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import DAY_S, at
from tests.core.bills.stripe_bill_world import SEND, StripeBillWorld

CODE = "invoice_has_returned_credits"


def corrected(pauses: bool) -> tuple[StripeBillWorld, StoredInvoice]:
    """An invoice with a correction that gave credits back. pauses: Stripe has not answered that it is issued."""
    world = StripeBillWorld(profile=SEND)
    grant = {"name": "Pack", "currency": "EUR", "amount": "40", "filters": {"features": ["tokens"]}}
    world.do("credit.grant", grant)
    world.subscribe(timing="immediate")
    world.use(at("2026-01-12"), "5000")
    for now_s in range(world.now_s, at("2026-02-12"), 2 * DAY_S):
        world.until(now_s)
        world.exchange()
    world.use(at("2026-01-12"), "4000")
    for now_s in range(world.now_s, at("2026-03-15"), DAY_S):
        world.until(now_s)
        found = [one for one in world.billed() if any(line.corrects for line in one.content.lines)]
        if pauses and found and found[0].progress.state == "issuing.syncing":
            break
        world.exchange()
    return world, found[0]


@pytest.mark.parametrize("is_held", [False, True])
def test_a_void_that_cannot_be_booked_is_an_issue_of_the_invoice(is_held: bool) -> None:
    world, made = corrected(is_held)
    assert made.progress.state == ("issuing.syncing" if is_held else "payment_processing.pending")
    world.event("voided", world.now_s, made.content.id)
    world.exchange()
    found = world.invoice(made.content.id)
    assert found.progress.state == "payment_processing.pending" and found.progress.held is None
    assert [(one.code, one.severity) for one in found.content.validation_issues] == [(CODE, "critical")]
    assert sum(world.noted.values()) >= 1
    world.event("paid", world.now_s + 1, made.content.id)
    assert world.invoice(made.content.id).progress.state == "paid"
