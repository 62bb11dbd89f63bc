"""Add-ons of a subscription as answers show them.

Owns: their members. Does not own: what is stored (subscription), the JSON of a rate card's numbers (the API).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` SubscriptionAddon.
"""

from __future__ import annotations

import msgspec

from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.addon_overlay import quantity_at
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionAddon
from pipeline.core.subscriptions.subscription_json import Shown
from pipeline.core.subscriptions.timeline import is_offered, life, placed_items
from pipeline.core.values import ulid
from pipeline.core.values.zone import text_of


def purchase_json(subscription: Subscription, bought: SubscriptionAddon, now_s: int) -> Shown:
    """An add-on with its quantities over time, the last ones until it or the subscription ends.

    Args:
        bought: an add-on of the subscription.
        now_s: for the quantity.
    """
    now_s = max(now_s, subscription.updated_at_s)
    ends = [*(change.at_s for change in bought.changes[1:]), subscription.active_to_s]
    spans = [
        (ActiveSpan(change.at_s, end_s).cut(life(subscription)), change.quantity)
        for change, end_s in zip(bought.changes, ends, strict=True)
    ]
    timeline = [(span, quantity) for span, quantity in spans if span is not None]
    first_s = bought.changes[0].at_s
    last = bought.changes[-1]
    end_s = last.at_s if not last.quantity else subscription.active_to_s
    shown = {
        "id": bought.id,
        "name": bought.name,
        "description": bought.description,
        "metadata": bought.metadata,
        "createdAt": text_of(ulid.at_ms(bought.id) // 1000),
        "updatedAt": text_of(subscription.updated_at_s),
        "activeFrom": text_of(first_s),
        "activeTo": None if end_s is None else text_of(end_s),
        "addon": {
            "id": bought.addon_id,
            "key": bought.addon_key,
            "version": bought.addon_version,
            "instanceType": bought.instance_type,
        },
        "quantity": quantity_at(bought, now_s),
        "quantityAt": text_of(now_s),
        "timeline": [_segment(span, quantity) for span, quantity in timeline],
        "subscriptionId": subscription.id,
        "rateCards": [
            {
                "rateCard": msgspec.to_builtins(card),
                "affectedSubscriptionItemIds": _affected(
                    subscription, bought, card.key, [span for span, quantity in timeline if quantity]
                ),
            }
            for card in bought.rate_cards
        ],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _segment(span: ActiveSpan, quantity: int) -> Shown:
    end = {} if span.end_s is None else {"activeTo": text_of(span.end_s)}
    return {"activeFrom": text_of(span.start_s), **end, "quantity": quantity}


def _affected(
    subscription: Subscription, bought: SubscriptionAddon, key: str, spans: list[ActiveSpan]
) -> list[str]:
    """The items with the key of a rate card that are in force while the add-on is bought."""
    return [
        placed.item.id
        for placed in placed_items(subscription)
        if placed.item.card.key == key
        and is_offered(subscription, placed.phase, bought.from_phase)
        and any(placed.span.cut(span) is not None for span in spans)
    ]
