"""A request that succeeds for every route that changes a subscription or its add-ons.

Owns: these rows of the table in changes. Does not own: the table, making what others need. No rate card has an
entitlement, so that no command to control follows a change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.api.scope_table import ADDONS, PLANS, SUBSCRIPTION_ADDONS, SUBSCRIPTIONS
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FEE, FULL_CARD, FULL_PLAN, with_card, without_key

if TYPE_CHECKING:
    from tests.api.changes import World

ONE = SUBSCRIPTIONS + "/{subscriptionId}"
ONE_ADDON = SUBSCRIPTION_ADDONS + "/{subscriptionAddonId}"
ANCHOR = "2026-01-01T00:00:00Z"


def plan_body(world: World) -> dict[str, Any]:
    """A plan with every member but entitlements, and one card by usage of a new feature."""
    feature = world.feature()["key"]
    card = {**FULL_CARD, "key": feature, "featureKey": feature, "entitlementTemplate": None}
    return {**with_card(card, FULL_PLAN), "key": world.name()}


def _plan(world: World, versions: int = 1) -> str:
    """The key of a new plan with so many versions, of which the last is sold, that offers the add-on of its name."""
    body = plan_body(world)
    world.make(PLANS, body)
    for version in range(versions):
        if version:
            world.make(f"{PLANS}/{body['key']}/next", None)
        world.make(f"{PLANS}/{body['key']}/publish", None)
    return str(body["key"])


def custom_plan(world: World) -> dict[str, Any]:
    return {**without_key(plan_body(world)), "currency": "EUR"}


def chosen(world: World) -> dict[str, Any]:
    """What is ordered, with every member."""
    return {
        "customPlan": custom_plan(world),
        "billingAnchor": ANCHOR,
        "startingPhase": "paid",
        "name": "S",
        "description": "d",
        "metadata": {"a": "b"},
        "alignment": {"billablesMustAlign": True},
        "settlementMode": "credit_then_invoice",
        "costBasisMode": "dynamic",
    }


def subscribed(world: World, plan: str | None = None, **sent: Any) -> str:
    """The path of a new subscription of a new customer."""
    order = {"customerKey": world.customer()["key"], "plan": {"key": plan or _plan(world)}, **sent}
    return f"{SUBSCRIPTIONS}/{world.make(SUBSCRIPTIONS, order)['id']}"


def _canceled(world: World) -> str:
    path = subscribed(world)
    world.make(f"{path}/cancel", {"timing": "next_billing_cycle"})
    return path


def _edit(world: World) -> tuple[str, Any]:
    card = {**FEE, "key": "support", "name": "Support"}
    phase = {"key": "mid", "name": "M", "description": "d", "startAfter": "P2M", "duration": "P1M"}
    ops = [
        {"op": "add_item", "phaseKey": "trial", "rateCard": card},
        {"op": "remove_item", "phaseKey": "paid", "itemKey": "fee"},
        {"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P1M"},
        {"op": "add_phase", "phase": phase},
        {"op": "remove_phase", "phaseKey": "mid", "shift": "next"},
        {"op": "unschedule_edit"},
    ]
    return subscribed(world), {"customizations": ops, "timing": "immediate"}


def _change(world: World) -> tuple[str, Any]:
    sent = {**chosen(world), "customPlan": None, "plan": {"key": _plan(world), "version": 1}}
    return f"{subscribed(world)}/change", {**sent, "timing": "next_billing_cycle"}


def _migration(world: World) -> tuple[str, Any]:
    plan = _plan(world)
    path = subscribed(world, plan)
    for step in ("next", "publish"):
        world.make(f"{PLANS}/{plan}/{step}", None)
    return f"{path}/migrate", {
        "timing": "immediate", "targetVersion": 2, "startingPhase": "paid", "billingAnchor": ANCHOR,
    }  # fmt: skip


def _order(world: World) -> tuple[str, Any]:
    """The path of the add-ons of a new subscription, and an add-on to buy."""
    plan, name = plan_body(world), world.name()
    addon = world.make(ADDONS, {**ADDON, "key": name, "rateCards": [{**FEE, "key": f"{name}_fee"}]})["id"]
    world.make(f"{ADDONS}/{addon}/publish", None)
    world.make(PLANS, plan)
    world.make(f"{PLANS}/{plan['key']}/addons", {"addonId": addon, **ASSIGNED})
    world.make(f"{PLANS}/{plan['key']}/publish", None)
    body = {
        "addon": {"id": addon}, "quantity": 2, "timing": "immediate", "name": "A", "description": "d",
        "metadata": {"a": "b"},
    }  # fmt: skip
    return f"{subscribed(world, plan['key'])}/addons", body


def _bought(world: World) -> tuple[str, Any]:
    path, body = _order(world)
    id = world.make(path, body)["id"]
    return f"{path}/{id}", {
        "quantity": 3, "timing": "next_billing_cycle", "name": "B", "description": "e", "metadata": {},
    }  # fmt: skip


# By method and route: the path and the body of a request.
OF_SUBSCRIPTIONS: dict[tuple[str, str], Callable[[World], tuple[str, Any]]] = {
    ("POST", SUBSCRIPTIONS): lambda w: (
        SUBSCRIPTIONS,
        {**chosen(w), "customerKey": w.customer()["key"], "timing": "immediate"},
    ),
    ("PATCH", ONE): _edit,
    ("DELETE", ONE): lambda w: (subscribed(w, timing="2999-01-01T00:00:00Z"), None),
    ("POST", ONE + "/cancel"): lambda w: (f"{subscribed(w)}/cancel", {"timing": "next_billing_cycle"}),
    ("POST", ONE + "/change"): _change,
    ("POST", ONE + "/migrate"): _migration,
    ("POST", ONE + "/unschedule-cancelation"): lambda w: (f"{_canceled(w)}/unschedule-cancelation", None),
    ("POST", ONE + "/restore"): lambda w: (f"{_canceled(w)}/restore", None),
    ("POST", SUBSCRIPTION_ADDONS): _order,
    ("PATCH", ONE_ADDON): _bought,
}
