"""Totals at 0, and totals that would be below it."""

from __future__ import annotations

from tests.core.bills.bill_world import ONE_PHASE, Definitions, at, lines_of
from tests.core.bills.test_customer_credits import HOOKS, CreditWorld, totals
from tests.fixtures.catalog_bodies import Body

AT_ONCE = {"workflow": {"invoicing": {"draftPeriod": "PT0S"}}}


def test_an_invoice_that_credits_pay_wholly_is_paid() -> None:
    world = CreditWorld(Definitions(app=HOOKS, profile=AT_ONCE))
    world.grant("20")
    made = world.charge("20")
    assert totals(made) == ("20", "0")
    assert (made.progress.state, made.dunning_made) == ("paid", 0)
    world.check()


def test_a_correction_of_what_credits_paid_does_not_wait() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    grant = world.grant("20")
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-03"))
    assert world.granted(grant).balance == 0
    world.do("subscription.cancel", {"timing": "immediate"}, id=id)
    world.until(at("2026-02-03"))
    assert world.granted(grant).balance == 1_871
    assert [totals(one) for one in world.billed()] == [("20", "0"), ("-18.71", "0")]
    world.check()


def test_a_total_with_tax_is_not_below_zero() -> None:
    fee, tokens = ONE_PHASE["phases"][0]["rateCards"]
    taxed: Body = {**tokens, "taxConfig": {"stripe": {"code": "txcd_10000000"}}}
    plan = {**ONE_PHASE, "phases": [{**ONE_PHASE["phases"][0], "rateCards": [fee, taxed]}]}
    rates = {"taxRates": [{"code": "txcd_10000000", "percent": 20}], "workflow": {"tax": {"enabled": True}}}
    world = CreditWorld(Definitions(app=HOOKS, plan=plan, profile=rates))
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "2000")
    world.until(at("2026-02-02"))
    world.use(at("2026-01-03"), "100")  # 20 without tax, and -19 with 20 % of it: -2.80
    world.until(at("2026-04-02"))
    found = [one.content.totals.total for one in world.billed()]
    assert found == ["20", "44", "-22.8", "20", "20"]  # 20 for March would be below 0 with -22.80
    assert lines_of(world.billed()[2]) == [("Tokens: correction", "2026-01-01", "-22.8")]
    assert world.billed()[1].content.amount_due == "21.2"
