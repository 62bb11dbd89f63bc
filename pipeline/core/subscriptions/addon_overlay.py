"""What add-ons that a customer bought change in the items of a phase.

Owns: the versions of items with add-ons, how a rate card is extended. Does not own: buying (subscription_addons), the
items that are stored, which never change by an add-on: without one, exactly they are in force.

An item with the key of an add-on's rate card is extended: a flat amount and the balance of a metered entitlement add
up, as many times as the add-on is bought; all else stays. Another key is an item of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.catalog.entitlement_template import EntitlementTemplate, MeteredTemplate
from pipeline.core.catalog.price import FlatPrice, Price
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.subscriptions.active_span import ActiveSpan, planned_item_span
from pipeline.core.subscriptions.subscription import SubscriptionAddon, SubscriptionItem, SubscriptionPhase
from pipeline.core.values import number, ulid

Timelines = Mapping[str, tuple[SubscriptionItem, ...]]


def overlaid(phase: SubscriptionPhase, span: ActiveSpan, addons: Iterable[SubscriptionAddon]) -> Timelines:
    """The versions of all items of a phase.

    Args:
        span: planned for the phase.
        addons: that the plan offers in the phase.
    """
    timelines = dict(phase.timelines)
    for addon in addons:
        for card in addon.rate_cards:
            timelines[card.key] = _with_card(timelines.get(card.key, ()), span, addon, card)
    return timelines


def quantity_at(addon: SubscriptionAddon, at_s: int) -> int:
    """How many times an add-on is bought at an instant."""
    return next((change.quantity for change in reversed(addon.changes) if change.at_s <= at_s), 0)


def extended(card: RateCard | None, by: RateCard, quantity: int) -> RateCard | None:
    """A rate card with another one of an add-on added to it so many times. card: None: there is none."""
    if not quantity:
        return card
    price, template = (None, None) if card is None else (card.price, card.entitlement_template)
    return msgspec.structs.replace(
        by if card is None else card,
        price=_price(price, by.price, quantity),
        entitlement_template=_template(template, by.entitlement_template, quantity),
    )


def _with_card(
    versions: tuple[SubscriptionItem, ...], span: ActiveSpan, addon: SubscriptionAddon, card: RateCard
) -> tuple[SubscriptionItem, ...]:
    placed = [(item, planned_item_span(item, span)) for item in versions]
    edges = {edge for _, one in placed for edge in one if edge is not None}
    edges |= {span.start_s, *(change.at_s for change in addon.changes)}
    starts = sorted(edge for edge in edges if span.holds(edge))
    found: list[SubscriptionItem] = []
    before: tuple[SubscriptionItem | None, RateCard | None] = (None, None)
    for place, start_s in enumerate(starts):
        item = next((item for item, one in placed if one.holds(start_s)), None)
        now = (item, extended(None if item is None else item.card, card, quantity_at(addon, start_s)))
        if now != before and now[1] is not None:
            found.append(_version(now[1], item, start_s, span, addon))
        if now[1] is not None:
            end_s = starts[place + 1] if place + 1 < len(starts) else None
            found[-1] = msgspec.structs.replace(found[-1], to_s=end_s)
        before = now
    return tuple(found)


def _version(
    card: RateCard, item: SubscriptionItem | None, start_s: int, span: ActiveSpan, addon: SubscriptionAddon
) -> SubscriptionItem:
    """A version that begins at an instant. It keeps the id of the stored one where that begins too."""
    from_s = None if start_s == span.start_s else start_s
    if item is not None and planned_item_span(item, span).start_s == start_s:
        return SubscriptionItem(id=item.id, card=card, from_s=from_s)
    source = "" if item is None else item.id
    id = ulid.make(start_s * 1000, f"{addon.id}/{source}/{card.key}/{start_s}")
    return SubscriptionItem(id=id, card=card, from_s=from_s)


def _price(price: Price | None, by: Price | None, quantity: int) -> Price | None:
    if not isinstance(by, FlatPrice):
        return by if price is None else price
    if price is None:
        return msgspec.structs.replace(by, amount=_sum(None, by.amount, quantity))
    if not isinstance(price, FlatPrice):
        return price
    return msgspec.structs.replace(price, amount=_sum(price.amount, by.amount, quantity))


def _template(
    template: EntitlementTemplate | None, by: EntitlementTemplate | None, quantity: int
) -> EntitlementTemplate | None:
    if not isinstance(by, MeteredTemplate) or by.issue_after_reset is None:
        return by if template is None else template
    if template is None:
        return msgspec.structs.replace(by, issue_after_reset=_sum(None, by.issue_after_reset, quantity))
    if not isinstance(template, MeteredTemplate):
        return template
    issued = _sum(template.issue_after_reset, by.issue_after_reset, quantity)
    return msgspec.structs.replace(template, issue_after_reset=issued)


def _sum(amount: str | None, by: str, quantity: int) -> str:
    return number.text((0 if amount is None else number.exact(amount)) + number.exact(by) * quantity)
