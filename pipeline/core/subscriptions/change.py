"""Replacing a running subscription by another one, in one step.

Owns: change (to any plan) and migrate (to another version of the same plan). Does not own: which version is the newest
active one (catalog), what either costs (rating).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.catalog.plan import Plan
from pipeline.core.subscriptions.from_plan import NewId, SubscriptionOrder, create
from pipeline.core.subscriptions.status import SubscriptionAction, check_allowed
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timing import Timing, end_of
from pipeline.errors import Rejected


class Succession(NamedTuple):
    """The subscription that ends, and the one that begins at the same instant."""

    current: Subscription
    following: Subscription


def change(
    current: Subscription, plan: Plan, order: SubscriptionOrder, now_s: int, new_id: NewId
) -> Succession:
    """End a subscription and begin another one at the same instant.

    Args:
        order: its timing is that of the change. Without an anchor it keeps the current one.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403); `bad-subscription`, see `end_of` and `create`.
    """
    return _succeed("change", current, plan, order, now_s, new_id)


def migrate(
    current: Subscription,
    plan: Plan,
    now_s: int,
    new_id: NewId,
    *,
    timing: Timing = "immediate",
    starting_phase: str | None = None,
    billing_anchor_s: int | None = None,
) -> Succession:
    """Move a subscription to another version of its plan. What the client chose for it stays.

    Args:
        plan: the target version; the newest active one if the client names none.
        starting_phase: of the target version; None: the first.

    Raises:
        Rejected: as `change`; also for a subscription of a custom plan, another plan, or the version that it has.
    """
    if current.plan is None:
        raise Rejected("bad-subscription", "a subscription of a custom plan cannot be migrated")
    if plan.key != current.plan.key:
        raise Rejected("bad-subscription", f"the plan of the subscription is {current.plan.key}")
    if plan.version == current.plan.version:
        raise Rejected("bad-subscription", f"the subscription is at version {plan.version} of its plan")
    order = SubscriptionOrder(
        customer_id=current.customer_id,
        timing=timing,
        zone=current.zone,
        billing_anchor_s=billing_anchor_s,
        starting_phase=starting_phase,
        name=current.name,
        description=current.description,
        metadata=current.metadata,
        alignment=current.alignment,
        settlement_mode=current.settlement_mode,
        cost_basis_mode=current.cost_basis_mode,
    )
    return _succeed("migrate", current, plan, order, now_s, new_id)


def _succeed(
    action: SubscriptionAction,
    current: Subscription,
    plan: Plan,
    order: SubscriptionOrder,
    now_s: int,
    new_id: NewId,
) -> Succession:
    check_allowed(action, current, now_s)
    if order.customer_id != current.customer_id:
        raise Rejected("bad-subscription", "a subscription cannot be changed to another customer's")
    at_s = end_of(current, order.timing, now_s)
    anchor_s = current.billing_anchor_s if order.billing_anchor_s is None else order.billing_anchor_s
    placed = msgspec.structs.replace(order, timing=at_s, billing_anchor_s=anchor_s)
    following = create(plan, placed, now_s, new_id)
    return Succession(
        msgspec.structs.replace(current, active_to_s=at_s, updated_at_s=now_s),
        following,
    )
