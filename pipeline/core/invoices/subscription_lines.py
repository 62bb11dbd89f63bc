"""The lines that a subscription should have, and when it has more of them.

Owns: lines with their prices, up to the end of the billing period that runs. Does not own: periods and identities
(rating.line_periods), which items are in force (subscriptions.timeline), the lines on invoices
(bills.subscription_sync).

A line has the price of its item as it was when the subscription began or was edited; a flat price is the share of its
period. The lines of a subscription that is settled by credits only are the same, and lie on statements of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.price import FlatPrice, Price
from pipeline.core.invoices.line import (
    InvoiceLine,
    LinePeriod,
    LineRateCard,
    LineSubscription,
    ReferenceId,
    line_id,
    text_of_s,
)
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.rating.line_periods import BilledItem, PlannedLine, TimePeriod, horizon_of, line_periods
from pipeline.core.rating.proration import prorated
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import PlacedItem, billed_item, billing_recurrence, placed_items
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values.calendar import EARLIEST_S, Recurrence
from pipeline.core.values.currency import digits_of


def subscription_lines(
    subscription: Subscription, workflow: BillingWorkflow, now_ms: int, since_s: int = EARLIEST_S
) -> list[InvoiceLine]:
    """All lines that are put on an invoice up to and at the end of the running billing period, not rated.

    Args:
        workflow: in force for the customer.
        now_ms: the time of the record, by which new lines get their ids.
        since_s: periods that ended before it may be left out: their lines are issued and may be forgotten.

    Returns:
        By phase, item and period. `reference` is the identity of a line, the same whenever it is computed again.
    """
    if subscription.is_deleted:
        return []
    billing = billing_recurrence(subscription)
    horizon_s = horizon_of(billing, now_ms // 1000)
    found = []
    for placed in placed_items(subscription):
        if placed.item.card.price is None:
            continue
        for planned in _planned(billed_item(subscription, placed), billing, horizon_s, since_s):
            price = _price(subscription, placed.item.card.price, planned, workflow)
            if not isinstance(price, FlatPrice) or number.parse(price.amount):
                found.append(_line(subscription, placed, planned, price, now_ms))
    return found


def next_horizon_s(subscription: Subscription, now_ms: int) -> int | None:
    """When `subscription_lines` has more lines than now; None: never, unless the subscription changes."""
    billing, now_s = billing_recurrence(subscription), now_ms // 1000
    horizon_s = horizon_of(billing, now_s)
    ends_s = subscription.active_to_s
    if subscription.is_deleted or (ends_s is not None and ends_s <= horizon_s):
        return None
    # Before the start of a subscription, nothing is planned until the period that ends at or after the start.
    return max(horizon_s, calendar.bounds(billing, subscription.active_from_s - 1)[0])


def _planned(item: BilledItem, billing: Recurrence, horizon_s: int, since_s: int) -> Iterator[PlannedLine]:
    first = 0
    if item.cadence is not None and since_s > item.start_s:
        service = Recurrence(item.cadence, billing.anchor_s, billing.zone)
        first = calendar.position(service, since_s) - calendar.position(service, item.start_s)
    return line_periods(item, billing, horizon_s, first)


def _price(
    subscription: Subscription, price: Price, planned: PlannedLine, workflow: BillingWorkflow
) -> Price:
    if not isinstance(price, FlatPrice):
        return price
    return prorated(
        price,
        planned.service,
        planned.full,
        digits_of(subscription.currency),
        enabled=subscription.pro_rating_config.enabled,
        subscription_end_s=subscription.active_to_s,
        end_mode=workflow.invoicing.subscription_end_proration_mode,
    )


def _line(
    subscription: Subscription, placed: PlacedItem, planned: PlannedLine, price: Price, now_ms: int
) -> InvoiceLine:
    card, now = placed.item.card, timestamp.text_of(now_ms)
    return InvoiceLine(
        id=line_id(now_ms, planned.identity),
        reference=planned.identity,
        name=card.name,
        description=card.description,
        managed_by="subscription",
        status="valid",
        period=_period(planned.service),
        invoice_at=text_of_s(planned.invoice_at_s),
        currency=subscription.currency,
        rate_card=LineRateCard(
            feature_key=card.feature_key,
            tax_config=card.tax_config,
            price=price,
            discounts=card.discounts,
            unit_config=card.unit_config,
        ),
        totals=InvoiceTotals(),
        subscription=LineSubscription(
            subscription=ReferenceId(subscription.id),
            phase=ReferenceId(placed.phase.id),
            item=ReferenceId(placed.item.id),
            billing_period=_period(planned.billing),
        ),
        created_at=now,
        updated_at=now,
    )


def _period(period: TimePeriod) -> LinePeriod:
    return LinePeriod(text_of_s(period.start_s), text_of_s(period.end_s))
