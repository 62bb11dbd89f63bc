"""Subscriptions that are settled by credits only: statements by which nothing is due, and a balance below 0."""

from __future__ import annotations

from typing import Any

from pipeline.core.credits.credit_balance import balances_at, movements
from pipeline.core.invoices.line import live_lines
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import Definitions, at, lines_of
from tests.core.bills.test_customer_credits import HOOKS, TAXED, CreditWorld, totals

STATEMENT = "CREDITS-CU0-"


def prepaid(grant: str | None = None, **profile: Any) -> CreditWorld:
    """A customer with 20 a month in advance and 0.01 for a token, settled by credits."""
    world = CreditWorld(Definitions(app=HOOKS, profile=profile))
    if grant is not None:
        world.grant(grant)
    world.subscribe(timing="immediate", settlementMode="credit_only")
    return world


def balance(world: CreditWorld, at_s: int | None = None) -> int:
    at_ms = (world.now_s if at_s is None else at_s) * 1000
    found = balances_at(world.grants(), world.published.ledger.values(), at_ms)
    return found["EUR"].live if found else 0


def statements(world: CreditWorld) -> list[StoredInvoice]:
    return [one for one in world.billed() if one.content.settlement_mode == "credit_only"]


def test_fees_and_usage_are_taken_from_credits_and_nothing_is_due() -> None:
    world = prepaid("100")
    world.until(world.now_s + 3600)
    assert balance(world) == 8_000  # the fee in advance
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-02-02"))
    assert balance(world) == 3_000
    found = statements(world)
    assert found == world.billed()
    assert [totals(one) for one in found] == [("20", "0"), ("50", "0")]
    assert {one.progress.state for one in found} == {"paid"}
    assert all((one.progress.number or "").startswith("CREDITS-") for one in found)
    assert world.published.numbers == {}  # a statement is in no series
    assert world.accounts() == {"customer_fbo": "30", "earnings": "70", "promotion": "-100"}
    world.check()


def test_what_no_grant_covers_is_below_0_until_the_next_credits_cover_it() -> None:
    world = prepaid("30")
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-02-02"))
    assert balance(world) == -4_000
    assert world.accounts() == {"customer_fbo": "-40", "earnings": "70", "promotion": "-30"}
    short = world.now_s
    grant = world.grant("100")
    assert (world.granted(grant).balance, balance(world)) == (6_000, 6_000)
    assert balance(world, short - 1) == -4_000
    assert [one.after for one in movements(world.published.ledger.values())][-2:] == [-4_000, 6_000]
    world.check()


def test_late_usage_corrects_the_balance_and_gives_back_to_the_grant_that_covered_it() -> None:
    world = prepaid("25")
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-02-02"))
    grant = world.grant("100")
    assert world.granted(grant).balance == 5_500
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-03-02"))
    assert world.granted(grant).balance == 5_500  # 20 came back, and paid the fee of March
    world.use(at("2026-01-03"), "1500")
    world.until(at("2026-04-02"))
    assert balance(world) == 3_000
    corrections = [
        line for one in statements(world) for line in one.content.lines if line.corrects is not None
    ]
    assert [line.totals.total for line in corrections] == ["0", "0"]
    assert [line.totals.amount for line in corrections] == ["-20", "5"]
    world.check()


def test_a_correction_takes_back_what_is_not_covered() -> None:
    world = prepaid()
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-02-02"))
    assert balance(world) == -7_000
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-03-02"))
    assert balance(world) == -7_000
    world.check()


def test_grants_with_a_filter_cover_only_charges_of_their_feature() -> None:
    world = prepaid()
    world.use(at("2026-01-03"), "3000")
    world.until(at("2026-02-02"))
    grant = world.grant("100", filters={"features": ["tokens"]})
    assert (world.granted(grant).balance, balance(world)) == (7_000, 3_000)
    world.check()


def test_a_grant_covers_once_it_can_be_used() -> None:
    world = prepaid()
    world.until(world.now_s + 3600)
    later = world.grant("5", effective_at="2026-01-10T00:00:00Z")
    paid = world.grant("50", funding_method="external", purchase={"availability_policy": "on_settlement"})
    assert balance(world) == -2_000
    world.until(at("2026-01-11"))
    assert (balance(world), world.granted(later).balance) == (-1_500, 0)
    world.do("credit.settle", {"status": "settled"}, id=paid)
    assert (balance(world), world.granted(paid).balance) == (3_500, 3_500)
    world.check()


def test_an_end_gives_back_the_rest_of_a_fee() -> None:
    world = prepaid("100")
    world.until(world.now_s + 3600)
    world.until(at("2026-01-17"))
    subscription = next(iter(world.published.subscriptions))
    world.do("subscription.cancel", {"timing": "immediate"}, id=subscription)
    world.until(at("2026-01-20"))
    assert balance(world) == 10_000 - 1_032  # 16 of 31 days
    world.check()


def test_a_statement_has_no_tax_and_needs_no_approval() -> None:
    workflow = {**TAXED["workflow"], "invoicing": {"autoAdvance": False}}
    world = prepaid("100", taxRates=TAXED["taxRates"], workflow=workflow)
    world.until(world.now_s + 3600)
    (found,) = statements(world)
    assert (totals(found), found.progress.state) == (("20", "0"), "paid")
    assert found.content.totals.taxes_total == "0"
    world.check()


def test_other_lines_of_the_customer_are_invoiced_as_before() -> None:
    world = prepaid("25")
    world.until(world.now_s + 3600)
    world.charge("30")
    (invoice,) = [one for one in world.billed() if one not in statements(world)]
    assert totals(invoice) == ("5", "25")
    assert invoice.content.settlement_mode == "credit_then_invoice"
    assert [name for name, _, _ in lines_of(invoice)] == ["Work"]
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-02-02"))
    assert balance(world) == -3_000
    waiting = [one for one in world.invoices() if one.progress.state == "gathering"]
    assert [one.content.settlement_mode for one in waiting] == ["credit_only"]
    assert all(line.subscription is not None for line in live_lines(waiting[0].content.lines))
    world.check()


def test_a_top_up_covers_within_the_record_that_adds_it() -> None:
    world = prepaid()
    world.until(world.now_s + 3600)
    assert balance(world) == -2_000
    world.do("credit.rule", {"currency": "EUR", "threshold": "10", "amount": "5", "target": "30"})
    assert (balance(world), [one.balance for one in world.grants()]) == (3_000, [3_000])
    world.check()
