"""Ending a subscription, and undoing that.

Owns: cancel, unschedule, restore, delete. Does not own: corrections of what was billed in advance (rating.booking).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.subscriptions.one_at_a_time import check_single
from pipeline.core.subscriptions.status import check_allowed
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timing import Timing, end_of
from pipeline.errors import Rejected


def cancel(subscription: Subscription, timing: Timing, now_s: int) -> Subscription:
    """End a subscription at once or later.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403); `bad-subscription`, see `end_of`.
    """
    check_allowed("cancel", subscription, now_s)
    end_s = end_of(subscription, timing, now_s)
    return msgspec.structs.replace(subscription, active_to_s=end_s, updated_at_s=now_s)


def unschedule(subscription: Subscription, others: Iterable[Subscription], now_s: int) -> Subscription:
    """Take back a cancelation that has not ended the subscription yet.

    Args:
        others: subscriptions of the customer; one that begins later is refused.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403);
            `only_single_subscription_allowed_per_customer_at_a_time` (409).
    """
    check_allowed("continue", subscription, now_s)
    continued = msgspec.structs.replace(subscription, active_to_s=None, updated_at_s=now_s)
    check_single(continued, others)
    return continued


def restore(
    subscription: Subscription, others: Iterable[Subscription], now_s: int
) -> tuple[Subscription, list[Subscription]]:
    """Take back a cancelation together with what is scheduled after it.

    Args:
        others: subscriptions of the customer.

    Returns:
        The subscription, and the scheduled ones that are deleted with this.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403).
    """
    check_allowed("restore", subscription, now_s)
    deleted = [
        delete(other, now_s)
        for other in others
        if other.id != subscription.id and not other.is_deleted and now_s < other.active_from_s
    ]
    return msgspec.structs.replace(subscription, active_to_s=None, updated_at_s=now_s), deleted


def delete(subscription: Subscription, now_s: int) -> Subscription:
    """Delete a subscription that has not begun.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403).
    """
    check_allowed("delete", subscription, now_s)
    return msgspec.structs.replace(subscription, deleted_at_s=now_s, updated_at_s=now_s)


def check_deletable_customer(subscriptions: Iterable[Subscription], now_s: int) -> None:
    """Refuse to delete a customer whose subscription is not over.

    Raises:
        Rejected: `deleting_customer_with_active_subscriptions` (409).
    """
    for one in subscriptions:
        if not one.is_deleted and (one.active_to_s is None or now_s < one.active_to_s):
            raise Rejected(
                "deleting_customer_with_active_subscriptions", f"The subscription {one.id} is not over."
            )
