"""Credit notes on invoices that are not paid: what is left to pay, what is booked, what can be done with them."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.printed_invoice import printed_invoice
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer
from pipeline.core.notifications.rule import UPDATED
from tests.core.bills.bill_world import Definitions, at
from tests.core.bills.test_credit_notes import CANCEL, note_of
from tests.core.bills.test_customer_credits import HOOKS, TAXED, CreditWorld
from tests.core.inputs import ENDPOINT

VOID = {"reason": "r", "action": {"percentage": 100, "action": {"type": "discard"}}}


def lowered(*facts: str, **profile: object) -> tuple[CreditWorld, StoredInvoice]:
    """A fee of 20 is billed and not paid; the subscription ends on the second day. facts: of the payment before."""
    world = CreditWorld(Definitions(app=HOOKS, profile=dict(profile)))
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    for fact in facts:
        world.do("invoice.payment-status", {"trigger": fact}, id=world.billed()[0].content.id)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    return world, world.billed()[0]


@pytest.mark.parametrize("fact", ["payment_failed", "action_required", "payment_overdue", ""])
def test_a_credit_note_lowers_what_is_due_for_an_unpaid_invoice(fact: str) -> None:
    world, first = lowered(*filter(None, [fact]))
    assert (first.content.totals.total, first.content.amount_due) == ("20", "0.65")
    assert note_of(world).content.totals.total == "-19.35"
    assert world.grants() == []
    assert world.accounts() == {"customer_receivable": "-0.65", "earnings": "0.65"}
    world.do("invoice.payment-status", {"trigger": "paid"}, id=first.content.id)
    assert world.accounts() == {"earnings": "0.65", "wash": "-0.65"}
    shown = {one.label: one.amount for one in printed_invoice(first, {}).totals}
    assert (shown["Total"], shown["Amount due"]) == ("\u20ac20.00", "\u20ac0.65")
    world.check()


def test_the_tax_is_lowered_with_it_and_nothing_is_left_of_a_fee_that_was_not_used() -> None:
    world = CreditWorld(Definitions(app=HOOKS, profile=TAXED))
    id = world.subscribe(timing="immediate")
    world.tick()
    world.until(world.now_s + 1)
    world.use(at("2026-01-01"), "100")
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-03"))
    world.use(at("2026-01-01"), "0")
    world.until(at("2026-01-05"))
    due = [one.content.amount_due for one in world.billed() if one.content.type == "standard"]
    owed = sum(-float(amount) for name, amount in world.accounts().items() if name == "customer_receivable")
    assert sum(float(one or "0") for one in due) == pytest.approx(owed)
    world.check()


def test_an_invoice_of_which_nothing_is_left_is_paid() -> None:
    world = CreditWorld(Definitions(app=HOOKS, profile=TAXED))
    id = world.subscribe(timing="immediate", billingAnchor="2026-01-31T00:00:00Z")
    world.use(at("2026-01-01") + 60, "5000")
    world.until(at("2026-01-02"))
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    last = world.billed()[-1]
    assert last.content.type == "standard"
    world.use(at("2026-01-01") + 60, "0")
    world.until(at("2026-01-06"))
    after = world.invoice(last.content.id)
    assert (after.content.amount_due, after.progress.state) == ("0", "paid")
    world.check()


def test_a_bad_debt_is_lowered() -> None:
    world, first = lowered("payment_uncollectible")
    assert first.content.amount_due == "0.65"
    assert world.accounts() == {"bad_debt": "-0.65", "earnings": "0.65"}
    world.do("invoice.payment-status", {"trigger": "paid"}, id=first.content.id)
    assert world.accounts() == {"earnings": "0.65", "wash": "-0.65"}
    world.check()


def test_an_invoice_that_was_lowered_cannot_be_voided() -> None:
    world, first = lowered()
    assert stored_answer(first, world.now_s).status_details.available_actions.void is None
    assert world.refused("invoice.void", VOID, id=first.content.id) == "invoice_has_credit_note"


def test_the_rules_report_that_less_is_due() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    log = world.definitions.log
    endpoint = log.do("endpoint.create", ENDPOINT)["id"]
    log.do("rule.create", {"type": UPDATED, "name": "Bills", "channels": [endpoint]})
    world.definitions.read()
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    before = set(world.published.alerts)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    fired = [one for id, one in world.published.alerts.items() if id not in before]
    assert any('"amountDue":"0.65"' in one.payload for one in fired)
