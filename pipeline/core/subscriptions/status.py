"""The status of a subscription at an instant, and which action each status allows.

Owns: both tables. Does not own: what an action does (edit, cancel, change, subscription_addons).
Source: openmeterio/openmeter at 7e57a394, `openmeter/subscription`.
"""

from __future__ import annotations

from typing import Literal

from pipeline.core.subscriptions.subscription import Subscription
from pipeline.errors import Rejected

SubscriptionStatus = Literal["scheduled", "active", "canceled", "inactive"]
SubscriptionAction = Literal["edit", "addon", "change", "migrate", "cancel", "continue", "restore", "delete"]

ALLOWED_IN: dict[SubscriptionAction, SubscriptionStatus] = {
    "edit": "active",
    "addon": "active",
    "change": "active",
    "migrate": "active",
    "cancel": "active",
    "continue": "canceled",
    "restore": "canceled",
    "delete": "scheduled",
}


def status_at(subscription: Subscription, at_s: int) -> SubscriptionStatus:
    """The status at an instant. canceled: it is active and has an end."""
    if at_s < subscription.active_from_s:
        return "scheduled"
    if subscription.active_to_s is None:
        return "active"
    return "canceled" if at_s < subscription.active_to_s else "inactive"


def check_allowed(action: SubscriptionAction, subscription: Subscription, at_s: int) -> None:
    """Refuse an action that the status does not allow.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403); `not-found` for a deleted subscription.
    """
    if subscription.is_deleted:
        raise Rejected("not-found", f"The subscription {subscription.id} is deleted.")
    status = status_at(subscription, at_s)
    if status != ALLOWED_IN[action]:
        raise Rejected("subscription_transition_not_allowed", f"transition {action} in {status} not allowed")
