"""Credits on the way of an invoice: what corrections, voids and taxes leave of them, and of the ledger."""

from __future__ import annotations

from typing import Any

from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import ONE_PHASE, Definitions, at
from tests.core.bills.test_customer_credits import HOOKS, CreditWorld, totals
from tests.fixtures.catalog_bodies import FEE, TOKENS

FOR_TOKENS = {"filters": {"features": ["tokens"]}}
BILLED_AT = ("2026-02-02", "2026-03-02", "2026-04-02", "2026-05-02")


def void(then: str) -> dict[str, Any]:
    return {"reason": "r", "action": {"percentage": 100, "action": {"type": then}}}


def subscribed(**profile: Any) -> CreditWorld:
    world = CreditWorld(Definitions(app=HOOKS, profile=profile))
    world.subscribe(timing="immediate")
    return world


def billed(world: CreditWorld, *used: str, grant: int = 0) -> list[StoredInvoice]:
    """Invoices of January's usage as it is known each month. grant: before which one 40 are granted."""
    found = []
    for place, quantity in enumerate(used):
        world.use(at("2026-01-03"), quantity)
        if place == grant:
            world.until(world.now_s + 3_600)
            world.grant("40", **FOR_TOKENS)
        world.until(at(BILLED_AT[place]))
        found.append(world.billed()[-1])
    return found


def test_a_void_does_not_give_back_again_what_a_correction_gave_back() -> None:
    world = subscribed()
    first, correction = billed(world, "5000", "4000")
    assert (totals(first)[0], totals(correction)[0]) == ("40", "-10")
    world.do("invoice.void", void("discard"), id=first.content.id)
    assert world.live() == 4_000
    assert world.accounts() == {
        "customer_fbo": "40", "customer_receivable": "-40", "earnings": "40", "promotion": "-40",
    }  # fmt: skip
    world.check()


def test_a_correction_gives_back_what_an_earlier_correction_had_burnt() -> None:
    world = subscribed()
    found = billed(world, "1000", "4000", "3000", grant=1)
    assert [totals(one) for one in found] == [("0", "30"), ("30", "20"), ("-10", "20")]
    assert world.live() == 2_000
    world.check()


def test_a_correction_gives_back_what_a_line_that_was_billed_again_had_burnt() -> None:
    world = subscribed()
    first, _ = billed(world, "4000", "3500")
    world.do("invoice.void", void("pending"), id=first.content.id)
    world.until(at("2026-03-10"))
    assert totals(world.billed()[-1]) == ("40", "20")
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-04-05"))
    assert totals(world.billed()[-1]) == ("-5", "20")
    assert world.live() == 500
    world.check()


def test_credits_pay_no_more_than_leaves_a_total_of_0_with_tax() -> None:
    code = "txcd_10000000"
    cards = [FEE, {**TOKENS, "taxConfig": {"stripe": {"code": code}}}]
    plan = {**ONE_PHASE, "phases": [{**ONE_PHASE["phases"][0], "rateCards": cards}]}
    profile = {"taxRates": [{"code": code, "percent": 20}], "workflow": {"tax": {"enabled": True}}}
    world = CreditWorld(Definitions(app=HOOKS, plan=plan, profile=profile))
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "2000")
    world.until(at("2026-02-02"))
    world.use(at("2026-01-03"), "500")
    world.grant("100")
    world.until(at("2026-03-02"))
    assert totals(world.billed()[-1]) == ("2", "0")  # 20 without tax, less 15 and 20 % of it
    assert world.live() == 9_800
    world.check()
