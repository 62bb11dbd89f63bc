"""Bills of a customer compared with usage that is counted on another way: what adds up, and what each difference is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.billed_parts import billed_parts
from pipeline.core.bills.money_reconcile import (
    MoneyAmount,
    MoneyRow,
    ReconciledFeature,
    ReconciledPeriod,
    missing_lines,
    reconcile_feature,
)
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.invoices.invoice import with_lines
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.rated_line import without_rating
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.records import Definition, Window
from tests.core.bills.bill_world import DAY_S, ONE_PHASE, BillWorld, Definitions, at
from tests.fixtures.catalog_bodies import FEE, TOKENS, Body
from tests.fixtures.examples import examples

START, END = at("2026-01-01"), at("2026-03-01")
PERIOD = ReconciledPeriod(START, END)


def plan(price: Body, **card: Any) -> Body:
    cards = [FEE, {**TOKENS, "price": price, **card}]
    return {**ONE_PHASE, "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": cards}]}


def world_of(price: Body | None = None, **card: Any) -> BillWorld:
    world = BillWorld(Definitions(plan=plan(price or TOKENS["price"], **card)))
    world.now_s = START
    world.subscribe()
    return world


def stored_usage(world: BillWorld) -> RecountedUsage:
    """The newest state of every window, as ClickHouse has it."""
    newest: dict[int, Window] = {}
    for logged in world.log:
        if isinstance(logged.record, list):
            newest |= {one.window.start_s: one.window for one in logged.record}
    body: dict[str, object] = {"subject": "s", "holders": [[0, world.customer]]}
    holders = Holders()
    holders.update(Changes({"": Definition(1, "attribution", "default", "s", "ann", 0, body)}))
    return RecountedUsage(newest.values(), holders, world.customer)


def row(
    world: BillWorld, invoices: list[StoredInvoice] | None = None, period: ReconciledPeriod = PERIOD
) -> MoneyRow:
    feature = ReconciledFeature("tokens", "tokens", BilledFeature(world.definitions.meter_id, "SUM"))
    groups = billed_parts(world.invoices() if invoices is None else invoices)
    return reconcile_feature(world.customer, feature, groups, period, stored_usage(world).quantity)


def units(found: MoneyRow) -> tuple[str | None, ...]:
    return found.usage, found.billed, found.pending, found.free


def test_usage_is_billed_pending_or_free() -> None:
    world = world_of(discounts={"usage": {"quantity": "30"}})
    world.use(at("2025-12-31T23:00:00Z"), "9")  # before the subscription, and before the period
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    world.use(at("2026-02-03"), "50")
    found = row(world)
    assert units(found) == ("150", "70", "50", "30")
    assert found.amounts == (MoneyAmount("EUR", "0.7", "0.7"),)
    assert found.differences == ()
    earlier = row(world, period=ReconciledPeriod(at("2025-12-01"), END))
    assert units(earlier) == ("159", "70", "50", "39")
    # Of a part of a line only its usage in the period is shown; money is that of the whole line.
    half = row(world, period=ReconciledPeriod(START, at("2026-01-10")))
    assert (units(half), half.amounts) == (("0", "0", "0", "0"), found.amounts)


def test_late_usage_is_corrected_and_adds_up_again() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    world.use(at("2026-01-20"), "11")
    world.tick()
    late = row(world)
    assert (units(late)[:2], late.amounts, late.differences) == (
        ("111", "111"),
        (MoneyAmount("EUR", "1.11", "1.11"),),
        (),
    )


def changed(world: BillWorld, change: Any, name: str = "Tokens") -> list[StoredInvoice]:
    """The documents with another line."""
    found = []
    for stored in world.invoices():
        lines = tuple(change(line) if line.name == name else line for line in stored.content.lines)
        kept = tuple(line for line in lines if line is not None)
        found.append(msgspec.structs.replace(stored, content=with_lines(stored.content, kept)))
    return found


def without(line: InvoiceLine) -> None:
    return None


def half(line: InvoiceLine) -> InvoiceLine:
    children = tuple(
        msgspec.structs.replace(
            child, totals=msgspec.structs.replace(child.totals, amount="0.5", total="0.5")
        )
        for child in line.children
    )
    return msgspec.structs.replace(line, children=children)


def older(line: InvoiceLine) -> InvoiceLine:
    return msgspec.structs.replace(half(line), metered_quantity="50") if line.children else line


@pytest.mark.parametrize(
    ("change", "name", "cause"),
    [
        (half, "Tokens", "lacks 0.5 EUR: its components are not the rating of its quantity."),
        (older, "Tokens", "lacks 0.5 EUR: it was rated with 50 units, and a correction is missing."),
        (
            without,
            "Tokens: correction",
            "lacks 0.11 EUR: it was rated with 100 units, and a correction is missing.",
        ),
    ],
)
def test_each_difference_has_its_cause(change: Any, name: str, cause: str) -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    if "correction" in name:
        world.use(at("2026-01-20"), "11")
        world.tick()
    [found] = row(world, changed(world, change, name)).differences
    assert cause in found
    assert f"customer {world.customer}, meter tokens, feature tokens: the line" in found


def test_a_draft_that_was_never_rated_is_pending() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    invalid = [
        msgspec.structs.replace(one, progress=msgspec.structs.replace(one.progress, state="draft.invalid"))
        for one in changed(world, without_rating)
    ]
    found = row(world, invalid)
    assert (units(found), found.differences) == (("100", "0", "100", "0"), ())


def test_a_correction_that_is_behind_is_a_difference() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    world.use(at("2026-01-20"), "11")
    world.tick()
    before = world.invoices()
    world.use(at("2026-01-20"), "12")
    world.tick()
    [found] = row(world, before).differences
    assert "lacks 0.01 EUR: its corrections do not take all late usage into account." in found
    assert row(world).differences == ()


def test_two_lines_for_the_same_usage_are_a_difference() -> None:
    world = world_of()
    world.use(at("2026-01-10"), "100")
    world.until(at("2026-02-03"))
    again = [
        msgspec.structs.replace(line, id="again", split=None)
        for stored in world.invoices()
        for line in stored.content.lines
        if line.is_metered and line.children
    ]
    invoices = world.invoices()
    invoices.append(
        msgspec.structs.replace(invoices[-1], content=with_lines(invoices[-1].content, tuple(again)))
    )
    found = row(world, invoices)
    assert found.free == "-100"
    assert "lines bill 200 units of a usage of 100" in found.differences[0]


def test_usage_with_a_price_and_without_a_line_is_a_difference() -> None:
    world = world_of()
    [id] = world.published.subscriptions
    wanted = subscription_lines(world.subscription(id), BillingWorkflow(), world.now_s * 1000)
    lines = [line for stored in world.invoices() for line in stored.content.lines]
    assert missing_lines("c", wanted, lines, PERIOD) == []
    [missing] = missing_lines("c", wanted, [line for line in lines if not line.is_metered], PERIOD)
    assert missing == (
        "customer c: the usage of tokens from 2026-01-01T00:00:00.000Z to 2026-02-01T00:00:00.000Z is on no invoice, "
        f"although the subscription {id} has a price for it."
    )
    assert missing_lines("c", wanted, [], ReconciledPeriod(END, END + DAY_S)) == []


PRICES: list[Body] = [
    {"type": "unit", "amount": "0.013", "minimumAmount": "1"},
    {"type": "package", "amount": "1.5", "quantityPerPackage": "7"},
    {"type": "tiered", "mode": "graduated", "tiers": [
        {"upToAmount": "20", "flatPrice": {"type": "flat", "amount": "3"}, "unitPrice": None},
        {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.07"}}]},
    {"type": "tiered", "mode": "volume", "tiers": [
        {"upToAmount": "20", "unitPrice": {"type": "unit", "amount": "0.5"}, "flatPrice": None},
        {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.3"}}]},
]  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 50), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.integers(1, 20), st.just(0)),
        st.tuples(st.just("now"), st.just(0), st.just(0)),
        st.tuples(st.just("cancel"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=examples(60))
@given(st.sampled_from(PRICES), STEPS)
def test_bills_add_up_after_any_usage_and_invoices(price: Body, steps: list[tuple[str, int, int]]) -> None:
    world = world_of(price)
    [subscription] = world.published.subscriptions
    for what, first, second in steps:
        if what == "use":
            world.use(min(START + first * DAY_S + second * 60, world.now_s), str(second))
        elif what == "wait":
            world.until(world.now_s + first * DAY_S + 61)
        elif what == "now":
            world.send("invoice.now", {"customerId": world.customer})
            world.answer_numbers()
        else:
            world.send("subscription.cancel", {"timing": "immediate"}, id=subscription)
    world.until(world.now_s + 1)
    found = row(world, period=ReconciledPeriod(START, world.now_s + DAY_S))
    assert found.differences == ()
    [amount] = found.amounts or [MoneyAmount("EUR", "0", "0")]
    assert amount.rated == amount.booked
    live = [line for stored in world.invoices() for line in live_lines(stored.content.lines)]
    assert found.amounts or not any(line.is_metered and line.children for line in live)
