"""What a customer may have only once at any instant: a subscription, and an item with a price for a feature.

Owns: both rules and their codes. Does not own: which subscriptions a customer has (the caller gives them).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import PlacedItem, life, placed_items
from pipeline.errors import Rejected


def check_single(subscription: Subscription, others: Iterable[Subscription]) -> None:
    """Refuse a subscription that another one of the customer overlaps.

    Args:
        others: of the same customer; deleted ones and the subscription itself do not count.

    Raises:
        Rejected: `only_single_subscription_allowed_per_customer_at_a_time` (409).
    """
    for other in others:
        if other.id == subscription.id or other.is_deleted or _is_empty(other) or _is_empty(subscription):
            continue
        if life(subscription).cut(life(other)) is not None:
            raise Rejected(
                "only_single_subscription_allowed_per_customer_at_a_time",
                f"The customer has the subscription {other.id} at the same time.",
            )


def check_items(subscriptions: Iterable[Subscription]) -> None:
    """Refuse two items of one feature, each with a price or an entitlement, that are in force at the same time.

    Raises:
        Rejected: `only_single_subscription_item_allowed_at_a_time` (409).
    """
    by_feature: dict[str, list[PlacedItem]] = {}
    for subscription in subscriptions:
        for placed in () if subscription.is_deleted else placed_items(subscription):
            card = placed.item.card
            if card.feature_key is not None and (card.price or card.entitlement_template):
                by_feature.setdefault(card.feature_key, []).append(placed)
    for feature, found in by_feature.items():
        if any(one.span.cut(other.span) is not None for one, other in combinations(found, 2)):
            raise Rejected(
                "only_single_subscription_item_allowed_at_a_time",
                f"The feature {feature} has two items at the same time.",
            )


def _is_empty(subscription: Subscription) -> bool:
    return life(subscription).cut(life(subscription)) is None
