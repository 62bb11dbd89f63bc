"""Beginning and ending items of a subscription.

Owns: the versions of an item after each change. Does not own: phases (edit_phases), rules for the edit as a whole
(edit). A version that would have no length is dropped, and a version that ends where the same card begins again
continues: a change and its undoing at one instant leave nothing.
"""

from __future__ import annotations

import msgspec

from pipeline.core.catalog.iso_duration import are_aligned
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.subscriptions.active_span import planned_item_span
from pipeline.core.subscriptions.customization import AddItem, RemoveItem
from pipeline.core.subscriptions.edit_place import (
    EditTimes,
    PhasePlace,
    find_phase,
    phase_at,
    refused,
    with_phase,
)
from pipeline.core.subscriptions.from_plan import NewId
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionItem

Versions = tuple[SubscriptionItem, ...]


def add(subscription: Subscription, asked: AddItem, times: EditTimes, new_id: NewId) -> Subscription:
    """Begin an item, at the start of a phase that has not begun. A version in force ends at the same instant."""
    place, card = find_phase(subscription, asked.phase_key, times.now_s), asked.rate_card
    _check_card(subscription, card)
    at_s = max(times.at_s, place.span.start_s)
    kept = _ended(place, card.key, at_s)
    if kept and kept[-1].card == card and planned_item_span(kept[-1], place.span).end_s == at_s:
        versions = (*kept[:-1], msgspec.structs.replace(kept[-1], to_s=None))
    else:
        name, from_s = f"{subscription.id}/{place.phase.key}/{card.key}/v[{len(kept)}]", None
        if at_s > place.span.start_s:
            name, from_s = f"{name}/{at_s}", at_s
        versions = (*kept, SubscriptionItem(id=new_id(name), card=card, from_s=from_s))
    return _with_versions(subscription, place, card.key, versions)


def remove(subscription: Subscription, asked: RemoveItem, times: EditTimes) -> Subscription:
    """End an item. In a phase that has not begun it is removed."""
    place, key = find_phase(subscription, asked.phase_key, times.now_s), asked.item_key
    at_s = max(times.at_s, place.span.start_s)
    versions = place.phase.timelines.get(key, ())
    if not versions or not planned_item_span(versions[-1], place.span).holds(at_s):
        raise refused(f"the phase {place.phase.key} has no item {key} in force")
    return _with_versions(subscription, place, key, _ended(place, key, at_s))


def unschedule(subscription: Subscription, times: EditTimes) -> Subscription:
    """Take back what begins or ends later than now in the current phase."""
    place = find_phase(subscription, phase_at(subscription, times.now_s), times.now_s)
    for key, versions in place.phase.timelines.items():
        kept = [item for item in versions if planned_item_span(item, place.span).start_s <= times.now_s]
        if kept and kept[-1].to_s is not None and kept[-1].to_s > times.now_s:
            kept[-1] = msgspec.structs.replace(kept[-1], to_s=None)
        subscription = _with_versions(subscription, place, key, tuple(kept))
    return subscription


def _ended(place: PhasePlace, key: str, at_s: int) -> Versions:
    """The versions of an item before an instant, the last one ended there at the latest."""
    versions = place.phase.timelines.get(key, ())
    kept: list[SubscriptionItem] = []
    for item in versions:
        span = planned_item_span(item, place.span)
        if span.start_s > at_s or (item.to_s is not None and item.to_s > at_s):
            raise refused(f"the item {key} has a change that is scheduled for later; unschedule it first")
        if span.start_s < at_s:
            kept.append(item if item.to_s is not None else msgspec.structs.replace(item, to_s=at_s))
    return tuple(kept)


def _with_versions(
    subscription: Subscription, place: PhasePlace, key: str, versions: Versions
) -> Subscription:
    timelines = dict(subscription.phases[place.place].timelines)
    if versions:
        timelines[key] = versions
    else:
        timelines.pop(key, None)
    return with_phase(subscription, place.place, timelines=timelines)


def _check_card(subscription: Subscription, card: RateCard) -> None:
    if card.feature_key is not None and card.feature_key != card.key:
        raise refused(f"the key of the rate card {card.key} must be that of its feature, {card.feature_key}")
    if card.currency not in (None, subscription.currency):
        raise refused(f"the rate card {card.key} must have the currency {subscription.currency}")
    cadence = card.recurring_cadence
    if cadence is not None and not are_aligned(cadence, subscription.billing_cadence):
        raise refused(
            f"the billing cadence {cadence} of the rate card {card.key} must be a whole multiple or divisor of the "
            f"subscription's, {subscription.billing_cadence}"
        )
