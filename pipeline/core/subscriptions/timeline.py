"""When each part of a subscription is in force: phases, versions of items, billing periods.

Owns: the instants that follow from what is stored, each cut to what it lies in; the items as billing takes them. Does
not own: what is stored (subscription), the effect of add-ons (addon_overlay), the lines of an item
(rating.line_periods).

A phase begins at the start of the subscription plus the lengths of all phases before it, counted at once in the zone
of the subscription: local time is kept and month ends do not drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.rating.line_periods import BilledItem
from pipeline.core.subscriptions.active_span import ActiveSpan, planned_item_span
from pipeline.core.subscriptions.addon_overlay import overlaid
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionItem, SubscriptionPhase
from pipeline.core.values import calendar
from pipeline.core.values.calendar import Interval, Recurrence

NO_TIME = Interval(0, 0)


def plus(one: Interval, other: Interval, times: int = 1) -> Interval:
    """One interval and `times` another, part by part."""
    return Interval(*(first + times * second for first, second in zip(one, other, strict=True)))


def start_after(subscription: Subscription, place: int) -> Interval:
    """How long after the start of the subscription a phase begins."""
    total = NO_TIME
    for phase in subscription.phases[:place]:
        total = plus(total, phase.duration or NO_TIME)
    return total


def after_start(subscription: Subscription, interval: Interval) -> int:
    """The instant so long after the start of the subscription, in its zone."""
    return calendar.add(subscription.active_from_s, interval, 1, subscription.zone)


def planned_spans(subscription: Subscription) -> list[ActiveSpan]:
    """The span of each phase, whether or not the subscription ends before. One of no length is there too."""
    bounds: list[int | None] = [
        after_start(subscription, start_after(subscription, place))
        for place in range(len(subscription.phases))
    ]
    last = subscription.phases[-1].duration
    total = start_after(subscription, len(subscription.phases))
    bounds.append(None if last is None else after_start(subscription, total))
    return [ActiveSpan(start_s or 0, end_s) for start_s, end_s in pairwise(bounds)]


def life(subscription: Subscription) -> ActiveSpan:
    """From when to when a subscription is active."""
    return ActiveSpan(subscription.active_from_s, subscription.active_to_s)


def phase_spans(subscription: Subscription) -> Iterator[tuple[SubscriptionPhase, ActiveSpan]]:
    """The phases that have a length, cut to the subscription."""
    for phase, planned in zip(subscription.phases, planned_spans(subscription), strict=True):
        span = planned.cut(life(subscription))
        if span is not None:
            yield phase, span


class PlacedItem(NamedTuple):
    """A version of an item and when it is in force, cut to its phase and subscription. version: from 0."""

    phase: SubscriptionPhase
    phase_span: ActiveSpan
    version: int
    item: SubscriptionItem
    span: ActiveSpan


def placed_items(subscription: Subscription) -> Iterator[PlacedItem]:
    """All versions of all items that are in force at some time, by phase and key, with what add-ons change."""
    planned = dict(
        zip((phase.key for phase in subscription.phases), planned_spans(subscription), strict=True)
    )
    for phase, span in phase_spans(subscription):
        bought = [one for one in subscription.addons if is_offered(subscription, phase, one.from_phase)]
        for versions in overlaid(phase, planned[phase.key], bought).values():
            for version, item in enumerate(versions):
                placed = planned_item_span(item, planned[phase.key]).cut(span)
                if placed is not None:
                    yield PlacedItem(phase, span, version, item, placed)


def is_offered(subscription: Subscription, phase: SubscriptionPhase, first: str) -> bool:
    """Whether a phase is the first one with an add-on or a later one; a first one that was skipped is before all."""
    keys = [one.key for one in subscription.phases]
    return first not in keys or keys.index(phase.key) >= keys.index(first)


def billing_recurrence(subscription: Subscription) -> Recurrence:
    """The billing periods of a subscription."""
    cadence = calendar.parse(subscription.billing_cadence)
    return Recurrence(cadence, subscription.billing_anchor_s, subscription.zone)


def billed_items(subscription: Subscription) -> list[BilledItem]:
    """The items that have a price, as their lines are computed from."""
    return [
        billed_item(subscription, placed) for placed in placed_items(subscription) if placed.item.card.price
    ]


def billed_item(subscription: Subscription, placed: PlacedItem) -> BilledItem:
    """A version of an item as its lines are computed from."""
    card = placed.item.card
    cadence = None if card.billing_cadence is None else calendar.parse(card.billing_cadence)
    in_advance = isinstance(card.price, FlatPrice) and card.price.payment_term == "in_advance"
    return BilledItem(
        subscription.id,
        placed.phase.key,
        card.key,
        placed.version,
        *placed.span,
        *placed.phase_span,
        cadence,
        in_advance,
    )
