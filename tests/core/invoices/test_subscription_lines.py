"""Which lines a subscription should have, with their prices, and when it has more."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.price import FlatPrice, UnitPrice
from pipeline.core.catalog.price_terms import Discounts, PercentageDiscount
from pipeline.core.catalog.tax_config import TaxCode, TaxConfig
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.subscription_lines import next_horizon_s, subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow, InvoicingSettings
from pipeline.core.subscriptions import cancel
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values.calendar import DAY_S
from tests.core.subscriptions.sold import ZONES, at, calls, day, phase, seats, subscribed

FULL = BillingWorkflow(invoicing=InvoicingSettings(subscription_end_proration_mode="bill_full_period"))


def lines(subscription: Subscription, now: str, workflow: BillingWorkflow = FULL) -> list[InvoiceLine]:
    return subscription_lines(subscription, workflow, at(now) * 1000)


def shown(found: list[InvoiceLine]) -> list[tuple[str | None, ...]]:
    """Item, service period, instant of invoicing, amount of a fee."""
    return [
        (
            one.name,
            day(one.period.start_s),
            day(one.period.end_s),
            day(one.invoice_at_s),
            one.rate_card.price.amount if isinstance(one.rate_card.price, FlatPrice) else None,
        )
        for one in found
    ]


def test_fees_are_one_period_ahead_of_usage() -> None:
    running = subscribed("2026-01-10", phase("main", None, seats(), calls()), anchor="2026-01-01")
    assert shown(lines(running, "2026-02-15")) == [
        ("Seats", "2026-01-10", "2026-02-01", "2026-01-10", "21.29"),  # 22 of 31 days
        ("Seats", "2026-02-01", "2026-03-01", "2026-02-01", "30"),
        ("Seats", "2026-03-01", "2026-04-01", "2026-03-01", "30"),
        ("Calls", "2026-01-10", "2026-02-01", "2026-02-01", None),
        ("Calls", "2026-02-01", "2026-03-01", "2026-03-01", None),
    ]


def test_a_line_has_what_its_rate_card_has() -> None:
    card = msgspec.structs.replace(
        calls(),
        description="of the API",
        discounts=Discounts(PercentageDiscount(Decimal(10))),
        tax_config=TaxConfig(stripe=TaxCode("txcd_10000000")),
    )
    running = subscribed("2026-01-10", phase("main", None, card))
    [line] = lines(running, "2026-01-11")
    assert (line.reference, line.managed_by, line.currency) == (
        "sub/main/calls/v[0]/period[0]",
        "subscription",
        "USD",
    )
    assert line.rate_card == msgspec.structs.replace(
        line.rate_card, feature_key="calls", price=UnitPrice(amount="0.01"), discounts=card.discounts
    )
    assert msgspec.to_builtins(line.rate_card.tax_config) == {"stripe": {"code": "txcd_10000000"}}
    assert line.description == "of the API"
    assert line.subscription is not None
    ids = (line.subscription.subscription.id, line.subscription.phase.id, line.subscription.item.id)
    assert ids == ("sub", "id of sub/main", "id of sub/main/calls/v[0]")
    assert line.subscription.billing_period == line.period


@pytest.mark.parametrize(
    ("amount", "workflow", "expected"),
    [
        ("30", BillingWorkflow(), "9.68"),  # 10 of 31 days
        ("30", FULL, "30"),
        ("0.01", BillingWorkflow(), None),  # a share of less than half a cent is no line
        ("0", FULL, None),
    ],
)
def test_the_last_period_of_a_subscription(
    amount: str, workflow: BillingWorkflow, expected: str | None
) -> None:
    running = subscribed("2026-01-01", phase("main", None, seats(amount)))
    ended = cancel.cancel(running, "immediate", at("2026-01-11"))
    found = lines(ended, "2026-01-11", workflow)
    assert [one[4] for one in shown(found)] == ([] if expected is None else [expected])


def test_a_deleted_subscription_has_no_lines() -> None:
    running = subscribed("2026-01-01", phase("main", None, seats()))
    none = msgspec.structs.replace(running, deleted_at_s=at("2026-01-02"))
    assert (lines(none, "2026-01-05"), next_horizon_s(none, at("2026-01-05") * 1000)) == ([], None)


def test_lines_are_the_same_however_they_are_settled() -> None:
    running = subscribed("2026-01-01", phase("main", None, seats()))
    by_credits = msgspec.structs.replace(running, settlement_mode="credit_only")
    assert lines(by_credits, "2026-01-05") == lines(running, "2026-01-05") != []
    free = subscribed("2026-01-01", phase("main", None, msgspec.structs.replace(seats(), price=None)))
    assert lines(free, "2026-01-05") == []


@pytest.mark.parametrize(
    ("now", "end", "expected"),
    [
        ("2025-06-15", None, "2025-12-31"),  # scheduled: nothing before the period that ends at the start
        ("2026-01-31", None, "2026-02-28"),
        ("2026-02-28", None, "2026-03-31"),
        ("2026-02-28", "2026-05-02", "2026-03-31"),
        ("2026-02-28", "2026-03-31", None),
        ("2026-02-28", "2026-03-01", None),
    ],
)
def test_the_next_horizon(now: str, end: str | None, expected: str | None) -> None:
    running = subscribed("2026-01-31", phase("main", None, seats()))
    running = msgspec.structs.replace(running, active_to_s=None if end is None else at(end))
    assert day(next_horizon_s(running, at(now) * 1000)) == expected


@given(
    st.sampled_from(ZONES),
    st.integers(at("2026-01-01"), at("2026-03-31")),
    st.integers(0, 200 * DAY_S),
    st.integers(-40 * DAY_S, 40 * DAY_S),
    st.none() | st.integers(0, 150 * DAY_S),
)
def test_lines_appear_at_horizons_and_old_ones_may_be_left_out(
    zone: str, start_s: int, after_s: int, anchor_s: int, life_s: int | None
) -> None:
    running = msgspec.structs.replace(
        subscribed(
            "2026-01-01", phase("trial", "P1M", calls()), phase("main", None, seats(), calls()), zone=zone
        ),
        active_from_s=start_s,
        billing_anchor_s=start_s + anchor_s,
        active_to_s=None if life_s is None else start_s + life_s,
    )
    now_ms = (start_s + after_s) * 1000

    def all_of(at_ms: int, since_s: int = 0) -> list[str | None]:
        return [one.reference for one in subscription_lines(running, FULL, at_ms, since_s)]

    horizon_s = next_horizon_s(running, now_ms)
    if horizon_s is None:
        assert all_of(now_ms) == all_of((start_s + 1000 * DAY_S) * 1000)
    else:
        assert horizon_s * 1000 > now_ms
        assert all_of(now_ms) == all_of(horizon_s * 1000 - 1)
    since_s = start_s + after_s // 2
    recent = all_of(now_ms, since_s)
    late = [one.reference for one in subscription_lines(running, FULL, now_ms) if one.period.end_s > since_s]
    assert [one for one in recent if one in late] == late
    assert set(recent) <= set(all_of(now_ms))
