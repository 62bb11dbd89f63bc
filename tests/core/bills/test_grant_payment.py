"""Credits that an invoice sells, whose line or invoice is changed, taken back or not paid."""

from __future__ import annotations

import pytest

from tests.core.bills.bill_world import Definitions
from tests.core.bills.test_customer_credits import HOOKS, CreditWorld
from tests.fixtures.catalog_bodies import Body

BY_HAND: Body = {"workflow": {"invoicing": {"autoAdvance": False}}}


def sale(profile: Body | None = None, is_draft: bool = True) -> tuple[CreditWorld, str, str]:
    """A world, the grant that is sold in it, the invoice that sells it."""
    world = CreditWorld(Definitions(app=HOOKS, profile=profile or {}))
    grant = world.grant("100", funding_method="invoice")
    if not is_draft:
        return world, grant, world.gathering().content.id
    world.tick()
    return world, grant, world.billed()[0].content.id


@pytest.mark.parametrize("is_draft", [True, False])
def test_a_sale_whose_line_is_deleted_ends_its_grant(is_draft: bool) -> None:
    world, grant, invoice = sale(BY_HAND, is_draft)
    world.do("invoice.update", {"lines": []}, id=invoice)
    world.until(world.now_s + 7_200)
    assert world.granted(grant).status(world.now_s * 1_000) == "voided"
    assert world.accounts() == {}
    world.check()


def test_the_price_of_a_sale_cannot_be_changed() -> None:
    world, _, invoice = sale(BY_HAND)
    (line,) = world.invoice(invoice).content.lines
    price = {"type": "flat", "amount": "100", "paymentTerm": "in_advance"}
    sent = {
        "id": line.id, "name": "Credits of 2026", "invoiceAt": line.invoice_at,
        "period": {"from": line.period.start, "to": line.period.end}, "rateCard": {"price": price},
    }  # fmt: skip
    world.do("invoice.update", {"lines": [sent]}, id=invoice)
    cheaper = {**sent, "rateCard": {"price": {**price, "amount": "1"}}}
    assert world.refused("invoice.update", {"lines": [cheaper]}, id=invoice) == "invoice_line_sells_credits"
    assert world.invoice(invoice).content.lines[0].name == "Credits of 2026"


def test_the_sale_of_a_grant_that_was_voided_is_taken_back() -> None:
    world, grant, invoice = sale(BY_HAND)
    world.do("credit.void", id=grant)
    world.do("invoice.delete", id=invoice)
    # What was lost by the void, against what is not paid for it.
    assert world.accounts() == {"bad_debt": "-100", "breakage": "100"}
    world.check()


def test_a_sale_that_is_uncollectible_is_a_bad_debt_until_it_is_paid_or_taken_back() -> None:
    taken_back = {"reason": "r", "action": {"percentage": 100, "action": {"type": "discard"}}}
    for ends_as in ("paid", "voided"):
        world, grant, invoice = sale()
        world.until(world.now_s + 7_200)
        world.do("invoice.payment-status", {"trigger": "payment_uncollectible"}, id=invoice)
        assert world.accounts() == {"bad_debt": "-100", "customer_fbo": "100"}
        assert world.granted(grant).status(world.now_s * 1_000) == "active"
        for trigger in ("authorized", "payment_uncollectible"):
            world.send("invoice.payment-status", {"trigger": trigger}, id=invoice)
        assert world.accounts() == {"bad_debt": "-100", "customer_fbo": "100"}
        if ends_as == "paid":
            world.do("invoice.payment-status", {"trigger": "paid"}, id=invoice)
            assert world.accounts() == {"customer_fbo": "100", "wash": "-100"}
        else:
            world.do("invoice.void", taken_back, id=invoice)
            assert world.accounts() == {}
        world.check()
