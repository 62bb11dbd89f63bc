"""Subscriptions as they would be if another plan had been theirs from their start, to see what they would have cost.

Owns: which subscriptions get the plan, each of them with it. Does not own: reading a plan
(subscriptions.order_reading), a new subscription (subscriptions.from_plan), what the lines cost (price_replay).

A subscription keeps its start, its end, its anchor, its zone and its add-ons. Phases, rate cards, cadence, currency and
proration are those of the plan, whose first phase begins where the subscription does; edits of its items are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.catalog.plan import Plan
from pipeline.core.explain.price_list import KIND
from pipeline.core.subscriptions.from_plan import SubscriptionOrder, create
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.errors import Rejected


def with_plan(subscription: Subscription, plan: Plan, of_plan: str | None = None) -> Subscription:
    """The subscription as it would be with a plan from its start.

    Args:
        subscription: of any plan.
        plan: that takes the place of its own.
        of_plan: key of the plan whose subscriptions get it, the others stay as they are; None: all.

    Raises:
        Rejected: `bad-subscription`: the phases of the plan do not follow one another.
    """
    if of_plan is not None and _plan_of(subscription) != of_plan:
        return subscription
    order = SubscriptionOrder(
        customer_id=subscription.customer_id,
        origin="custom",  # it may be a version that was not sold then
        zone=subscription.zone,
        billing_anchor_s=subscription.billing_anchor_s,
        name=subscription.name,
    )

    def id_of(name: str) -> str:
        return subscription.id if name == "subscription" else name

    made = create(plan, order, subscription.active_from_s, id_of)
    return msgspec.structs.replace(
        made,
        active_to_s=subscription.active_to_s,
        addons=subscription.addons,
        deleted_at_s=subscription.deleted_at_s,
    )


def check_sold(subscriptions: Iterable[Subscription], of_plan: str | None) -> None:
    """A plan that no subscription has is a mistake of its key: nothing would change.

    Args:
        subscriptions: of all customers that are asked for; none: the key cannot be checked.
        of_plan: as for `with_plan`.

    Raises:
        Rejected: `bad-price-list`, with the key.
    """
    plans = {_plan_of(one) for one in subscriptions} if of_plan is not None else set[str | None]()
    if plans and of_plan not in plans:
        raise Rejected(f"bad-{KIND}", f"No subscription has the plan {of_plan}.")


def _plan_of(subscription: Subscription) -> str | None:
    return None if subscription.plan is None else subscription.plan.key
