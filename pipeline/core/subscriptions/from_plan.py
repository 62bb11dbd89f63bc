"""A new subscription from a plan, or from a plan that is made for one customer.

Owns: what is copied, its start, anchor and first phase. Does not own: which version of a plan is meant and whether a
custom plan is valid (catalog), other subscriptions of the customer (one_at_a_time).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from pipeline.core.catalog.plan import Plan, PlanAlignment, PlanPhase, SettlementMode
from pipeline.core.subscriptions.subscription import (
    CostBasisMode,
    PlanReference,
    Subscription,
    SubscriptionItem,
    SubscriptionPhase,
)
from pipeline.core.subscriptions.timing import Timing, start_of
from pipeline.core.values import calendar
from pipeline.core.values.calendar import Recurrence
from pipeline.core.values.zone import UTC
from pipeline.errors import Rejected

NewId = Callable[
    [str], str
]  # the id of a thing by its name: the same for the same name, whenever it is called
PlanOrigin = Literal["catalog", "custom"]


class SubscriptionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a client orders.

    Args:
        origin: custom: the plan was sent with the order and is not in the catalog.
        zone: of the customer's billing, in which months and days are counted.
        billing_anchor_s: None: the start.
        starting_phase: key; phases before it are skipped. None: the first.
        alignment, settlement_mode: None: as the plan has them.
    """

    customer_id: str
    origin: PlanOrigin = "catalog"
    timing: Timing = "immediate"
    zone: str = UTC
    billing_anchor_s: int | None = None
    starting_phase: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    alignment: PlanAlignment | None = None
    settlement_mode: SettlementMode | None = None
    cost_basis_mode: CostBasisMode = "dynamic"


def create(plan: Plan, order: SubscriptionOrder, now_s: int, new_id: NewId) -> Subscription:
    """A subscription, active or scheduled.

    Args:
        plan: the version that the order names; the active one if it names none.
        now_s: of the command's record.
        new_id: called with `subscription`, with `<subscription id>/<phase key>` and with the identity of each item.

    Raises:
        Rejected: `bad-subscription`: see `start_of`; a plan that is not active at the start, phases that do not follow
            one another, an unknown starting phase.
    """
    anchor_s = order.billing_anchor_s
    billing = (
        None if anchor_s is None else Recurrence(calendar.parse(plan.billing_cadence), anchor_s, order.zone)
    )
    active_from_s = start_of(order.timing, now_s, billing)
    if order.origin == "catalog":
        _check_sold(plan, active_from_s)
    phases = _phases_from(plan, order.starting_phase)
    id = new_id("subscription")
    return Subscription(
        id=id,
        customer_id=order.customer_id,
        name=order.name or plan.name,
        description=order.description,
        metadata=order.metadata,
        plan=PlanReference(plan.id, plan.key, plan.version) if order.origin == "catalog" else None,
        currency=plan.currency,
        billing_cadence=plan.billing_cadence,
        billing_anchor_s=active_from_s if anchor_s is None else anchor_s,
        zone=order.zone,
        pro_rating_config=plan.pro_rating_config,
        settlement_mode=order.settlement_mode or plan.settlement_mode,
        cost_basis_mode=order.cost_basis_mode,
        alignment=order.alignment or plan.alignment,
        active_from_s=active_from_s,
        phases=tuple(_phase(phase, id, new_id) for phase in phases),
        created_at_s=now_s,
        updated_at_s=now_s,
    )


def _check_sold(plan: Plan, at_s: int) -> None:
    status = plan.status_at(at_s * 1000)
    if plan.is_deleted or status != "active":
        state = "deleted" if plan.is_deleted else status
        raise Rejected(
            "bad-subscription",
            f"version {plan.version} of the plan {plan.key} is {state} when the subscription begins",
        )


def _phases_from(plan: Plan, first: str | None) -> tuple[PlanPhase, ...]:
    keys = [phase.key for phase in plan.phases]
    if not keys:
        raise Rejected("bad-subscription", "the plan has no phases")
    if len(set(keys)) < len(keys):
        raise Rejected("bad-subscription", "the plan has two phases with one key")
    if plan.phases[-1].duration is not None:
        raise Rejected("bad-subscription", f"the last phase {keys[-1]} must not have a duration")
    endless = next((phase.key for phase in plan.phases[:-1] if phase.duration is None), None)
    if endless is not None:
        raise Rejected("bad-subscription", f"the phase {endless} needs a duration, since it is not the last")
    if first is None:
        return plan.phases
    if first not in keys:
        raise Rejected("bad-subscription", f"startingPhase {first} is not a phase of the plan")
    return plan.phases[keys.index(first) :]


def _phase(phase: PlanPhase, subscription_id: str, new_id: NewId) -> SubscriptionPhase:
    name = f"{subscription_id}/{phase.key}"
    return SubscriptionPhase(
        id=new_id(name),
        key=phase.key,
        name=phase.name,
        description=phase.description,
        metadata=phase.metadata,
        duration=None if phase.duration is None else calendar.parse(phase.duration, least_s=0),
        timelines={
            card.key: (SubscriptionItem(id=new_id(f"{name}/{card.key}/v[0]"), card=card),)
            for card in phase.rate_cards
        },
    )
