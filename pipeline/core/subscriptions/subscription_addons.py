"""Buying add-ons for a subscription, and changing how many.

Owns: buying, changing the quantity or the description, with their refusals. Does not own: what an add-on changes
(addon_overlay), whether a plan may offer it (catalog).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.subscriptions.addon_overlay import quantity_at
from pipeline.core.subscriptions.from_plan import NewId
from pipeline.core.subscriptions.one_at_a_time import check_items
from pipeline.core.subscriptions.status import check_allowed
from pipeline.core.subscriptions.subscription import QuantityChange, Subscription, SubscriptionAddon
from pipeline.core.subscriptions.timeline import billing_recurrence
from pipeline.core.subscriptions.timing import Timing
from pipeline.core.values import calendar
from pipeline.errors import Rejected


class AddonOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a client buys. timing: an instant must not be in the past."""

    quantity: int
    timing: Timing = "immediate"
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None


def buy(
    subscription: Subscription, addon: Addon, offer: PlanAddon, order: AddonOrder, now_s: int, new_id: NewId
) -> Subscription:
    """Buy an add-on.

    Args:
        offer: the assignment of the add-on to the plan.
        new_id: called with `<subscription id>/addon/<add-on id>`.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403); `subscription_addon_already_bought` (409);
            `bad-subscription-addon`; `only_single_subscription_item_allowed_at_a_time` (409).
    """
    check_allowed("addon", subscription, now_s)
    plan_id = None if subscription.plan is None else subscription.plan.id
    if offer.is_deleted or (offer.plan_id, offer.addon_id) != (plan_id, addon.id):
        raise _refused(f"the plan of the subscription does not offer the add-on {addon.key}")
    if addon.is_deleted or addon.status_at(now_s * 1000) != "active":
        raise _refused(f"version {addon.version} of the add-on {addon.key} is not active")
    if addon.currency != subscription.currency:
        raise _refused(f"the add-on {addon.key} must have the currency {subscription.currency}")
    if any(one.addon_key == addon.key for one in subscription.addons):
        raise Rejected(
            "subscription_addon_already_bought",
            f"The subscription has the add-on {addon.key}; change its quantity.",
        )
    if order.quantity < 1:
        raise _refused("quantity must be at least 1")
    bought = SubscriptionAddon(
        id=new_id(f"{subscription.id}/addon/{addon.id}"),
        addon_id=addon.id,
        addon_key=addon.key,
        addon_version=addon.version,
        instance_type="single" if addon.instance_type == "single" else "multiple",
        name=order.name or addon.name,
        description=order.description,
        metadata=order.metadata,
        rate_cards=addon.rate_cards,
        from_phase=offer.from_plan_phase,
        max_quantity=offer.max_quantity,
        changes=(),
    )
    changed = _changed(bought, order.quantity, _instant(subscription, order.timing, now_s))
    return _with_addons(subscription, (*subscription.addons, changed), now_s)


def change_quantity(
    subscription: Subscription, addon_id: str, quantity: int, timing: Timing, now_s: int
) -> Subscription:
    """Change how many times an add-on is bought; 0 ends it. Changes that are scheduled for later are replaced.

    Args:
        addon_id: of the purchase or of the add-on.

    Returns:
        The subscription. An add-on that is never in force is not kept.

    Raises:
        Rejected: as `buy`; `not-found`.
    """
    check_allowed("addon", subscription, now_s)
    bought = purchase_of(subscription, addon_id)
    changed = _changed(bought, quantity, _instant(subscription, timing, now_s))
    if changed == bought:
        return subscription
    addons = tuple(changed if one is bought else one for one in subscription.addons)
    return _with_addons(subscription, tuple(one for one in addons if one.changes), now_s)


def describe(
    subscription: Subscription, addon_id: str, described: Mapping[str, object], now_s: int
) -> Subscription:
    """Change the name, description or metadata of an add-on that was bought.

    Args:
        addon_id: of the purchase or of the add-on.
        described: members of SubscriptionAddon.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403); `not-found`.
    """
    check_allowed("addon", subscription, now_s)
    bought = purchase_of(subscription, addon_id)
    changed = msgspec.structs.replace(bought, **described)
    if changed == bought:
        return subscription
    addons = tuple(changed if one is bought else one for one in subscription.addons)
    return msgspec.structs.replace(subscription, addons=addons, updated_at_s=now_s)


def purchase_of(subscription: Subscription, addon_id: str) -> SubscriptionAddon:
    """The add-on that was bought, by its own id or that of the add-on. Raises Rejected `not-found`."""
    bought = next((one for one in subscription.addons if addon_id in (one.id, one.addon_id)), None)
    if bought is None:
        raise Rejected("not-found", f"The subscription has no add-on {addon_id}.")
    return bought


def _changed(bought: SubscriptionAddon, quantity: int, at_s: int) -> SubscriptionAddon:
    most = 1 if bought.instance_type == "single" else bought.max_quantity
    if quantity < 0:
        raise _refused("quantity must be at least 0")
    if most is not None and quantity > most:
        raise _refused(f"the quantity of the add-on {bought.addon_key} must be at most {most}")
    kept = tuple(change for change in bought.changes if change.at_s < at_s)
    bought = msgspec.structs.replace(bought, changes=kept)
    if quantity_at(bought, at_s) == quantity:
        return bought
    return msgspec.structs.replace(bought, changes=(*kept, QuantityChange(at_s, quantity)))


def _with_addons(
    subscription: Subscription, addons: tuple[SubscriptionAddon, ...], now_s: int
) -> Subscription:
    changed = msgspec.structs.replace(subscription, addons=addons, updated_at_s=now_s)
    check_items([changed])
    return changed


def _instant(subscription: Subscription, timing: Timing, now_s: int) -> int:
    if timing == "immediate":
        return now_s
    if timing == "next_billing_cycle":
        return calendar.next_tick(billing_recurrence(subscription), now_s)
    if timing < now_s:
        raise _refused("timing must not be in the past")
    return timing


def _refused(detail: str) -> Rejected:
    return Rejected("bad-subscription-addon", detail)
