"""Subscriptions as answers show them.

Owns: the JSON of a subscription, with and without its phases. Does not own: what is stored (subscription), the feature
and entitlement of an item (the members of `included`), the form of numbers (discounts hold decimals).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` Subscription, SubscriptionExpanded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pipeline.core.catalog.price_terms import discounts_json
from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.status import status_at
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionPhase
from pipeline.core.subscriptions.timeline import PlacedItem, billing_recurrence, phase_spans, placed_items
from pipeline.core.values import calendar, ulid
from pipeline.core.values.zone import text_of

Shown = dict[str, object]


def subscription_json(subscription: Subscription, now_s: int) -> Shown:
    """A subscription without its phases. now_s: for its status."""
    alignment = subscription.alignment
    return _present(
        {
            "id": subscription.id,
            "name": subscription.name,
            "description": subscription.description,
            "metadata": subscription.metadata,
            **_span(ActiveSpan(subscription.active_from_s, subscription.active_to_s)),
            "status": status_at(subscription, max(now_s, subscription.updated_at_s)),
            "customerId": subscription.customer_id,
            "plan": None if subscription.plan is None else msgspec.to_builtins(subscription.plan),
            "currency": subscription.currency,
            "billingCadence": subscription.billing_cadence,
            "billingAnchor": text_of(subscription.billing_anchor_s),
            "proRatingConfig": msgspec.to_builtins(subscription.pro_rating_config),
            "settlementMode": subscription.settlement_mode,
            "costBasisMode": subscription.cost_basis_mode,
            "costBasisPins": [],
            "alignment": None if alignment is None else msgspec.to_builtins(alignment),
            "createdAt": text_of(subscription.created_at_s),
            "updatedAt": text_of(subscription.updated_at_s),
            "deletedAt": None if subscription.deleted_at_s is None else text_of(subscription.deleted_at_s),
        }
    )


def expanded_json(
    subscription: Subscription, now_s: int, at_s: int, included: Mapping[str, Shown] | None = None
) -> Shown:
    """A subscription with its phases, their items in force at an instant, and all versions of each item.

    Args:
        subscription: with its add-ons.
        now_s: for its status.
        at_s: for items and the billing period.
        included: feature and entitlement by the id of the item.
    """
    shown = subscription_json(subscription, now_s)
    period = _billing_period(subscription, at_s)
    if period is not None:
        alignment = {} if subscription.alignment is None else msgspec.to_builtins(subscription.alignment)
        current = {"from": text_of(period[0]), "to": text_of(period[1])}
        shown["alignment"] = {**alignment, "currentAlignedBillingPeriod": current}
    updated = text_of(subscription.updated_at_s)
    items: dict[str, list[tuple[PlacedItem, Shown]]] = {}
    for placed in placed_items(subscription):
        item = _item(placed, updated, (included or {}).get(placed.item.id))
        items.setdefault(placed.phase.id, []).append((placed, item))
    shown["phases"] = [
        _phase(phase, span, updated, items.get(phase.id, []), at_s)
        for phase, span in phase_spans(subscription)
    ]
    return shown


def _phase(
    phase: SubscriptionPhase,
    span: ActiveSpan,
    updated: str,
    items: Sequence[tuple[PlacedItem, Shown]],
    at_s: int,
) -> Shown:
    timelines: dict[str, list[Shown]] = {}
    for placed, shown in items:
        timelines.setdefault(placed.item.card.key, []).append(shown)
    return _present(
        {
            "id": phase.id,
            "key": phase.key,
            "name": phase.name,
            "description": phase.description,
            "metadata": phase.metadata,
            **_span(span),
            **_written(phase.id, updated),
            "items": [shown for placed, shown in items if placed.span.holds(at_s)],
            "itemTimelines": timelines,
        }
    )


def _billing_period(subscription: Subscription, at_s: int) -> tuple[int, int] | None:
    """The billing period of an instant, cut to the phase; None where no phase is in force."""
    span = next((span for _, span in phase_spans(subscription) if span.holds(at_s)), None)
    if span is None:
        return None
    start_s, end_s = calendar.bounds(billing_recurrence(subscription), at_s)
    return max(start_s, span.start_s), end_s if span.end_s is None else min(end_s, span.end_s)


def _item(placed: PlacedItem, updated: str, included: Shown | None) -> Shown:
    card = placed.item.card
    return _present(
        {
            "id": placed.item.id,
            "key": card.key,
            "name": card.name,
            "description": card.description,
            "metadata": card.metadata,
            "featureKey": card.feature_key,
            "discounts": None if card.discounts is None else discounts_json(card.discounts),
            "taxConfig": None if card.tax_config is None else msgspec.to_builtins(card.tax_config),
            "included": included,
            **_span(placed.span),
            **_written(placed.item.id, updated),
        }
    ) | {
        "billingCadence": card.billing_cadence,
        "price": None if card.price is None else msgspec.to_builtins(card.price),
    }


def _written(id: str, updated: str) -> Shown:
    """When a part was made, and when its subscription changed last."""
    made = text_of(ulid.at_ms(id) // 1000)
    return {"createdAt": min(made, updated), "updatedAt": updated}


def _span(span: ActiveSpan) -> Shown:
    return {
        "activeFrom": text_of(span.start_s),
        "activeTo": None if span.end_s is None else text_of(span.end_s),
    }


def _present(members: Shown) -> Shown:
    return {name: value for name, value in members.items() if value is not None}
