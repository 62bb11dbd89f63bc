"""A request that succeeds for every route that changes plans, add-ons and add-ons of plans.

Owns: these rows of the table in changes. Does not own: the table, making what others need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.api.scope_table import ADDONS, PLAN_ADDONS, PLANS
from tests.fixtures import catalog_bodies

if TYPE_CHECKING:
    from tests.api.changes import World


def plan_body(world: World) -> dict[str, Any]:
    """A plan with every member of a plan, and one card by usage of a new feature."""
    feature = world.feature()["key"]
    card = {**catalog_bodies.FULL_CARD, "key": feature, "featureKey": feature}
    return {**catalog_bodies.with_card(card, catalog_bodies.FULL_PLAN), "key": world.name()}


def addon_body(world: World) -> dict[str, Any]:
    cards = catalog_bodies.ADDON["rateCards"][1:]
    return {**catalog_bodies.FULL_ADDON, "instanceType": "multiple", "key": world.name(), "rateCards": cards}


def _plan(world: World, *steps: str) -> str:
    """The id of a new plan, after these steps."""
    id = str(world.make(PLANS, plan_body(world))["id"])
    for step in steps:
        world.make(f"{PLANS}/{id}/{step}", None)
    return id


def _addon(world: World, *steps: str) -> str:
    id = str(world.make(ADDONS, addon_body(world))["id"])
    for step in steps:
        world.make(f"{ADDONS}/{id}/{step}", None)
    return id


def _assignment(world: World) -> dict[str, Any]:
    return {"addonId": _addon(world), **catalog_bodies.ASSIGNED}


def _assigned(world: World) -> str:
    """The path of a new assignment."""
    path = f"{PLANS}/{_plan(world)}/addons"
    return f"{path}/{world.make(path, _assignment(world))['id']}"


_body = catalog_bodies.without_key

# By method and route: the path and the body of a request.
CATALOG: dict[tuple[str, str], Callable[[World], tuple[str, Any]]] = {
    ("POST", PLANS): lambda w: (PLANS, plan_body(w)),
    ("PUT", PLANS + "/{planId}"): lambda w: (
        f"{PLANS}/{_plan(w)}",
        {**_body(plan_body(w)), "name": "other"},
    ),
    ("DELETE", PLANS + "/{planId}"): lambda w: (f"{PLANS}/{_plan(w)}", None),
    ("POST", PLANS + "/{planId}/publish"): lambda w: (f"{PLANS}/{_plan(w)}/publish", None),
    ("POST", PLANS + "/{planId}/archive"): lambda w: (f"{PLANS}/{_plan(w, 'publish')}/archive", None),
    ("POST", PLANS + "/{planIdOrKey}/next"): lambda w: (f"{PLANS}/{_plan(w, 'publish')}/next", None),
    ("POST", PLAN_ADDONS): lambda w: (PLAN_ADDONS.replace("{planId}", _plan(w)), _assignment(w)),
    ("PUT", PLAN_ADDONS + "/{planAddonId}"): lambda w: (
        _assigned(w),
        {**catalog_bodies.ASSIGNED, "maxQuantity": 3},
    ),
    ("DELETE", PLAN_ADDONS + "/{planAddonId}"): lambda w: (_assigned(w), None),
    ("POST", ADDONS): lambda w: (ADDONS, addon_body(w)),
    ("PUT", ADDONS + "/{addonId}"): lambda w: (
        f"{ADDONS}/{_addon(w)}",
        {**_body(addon_body(w)), "name": "other"},
    ),
    ("DELETE", ADDONS + "/{addonId}"): lambda w: (f"{ADDONS}/{_addon(w)}", None),
    ("POST", ADDONS + "/{addonId}/publish"): lambda w: (f"{ADDONS}/{_addon(w)}/publish", None),
    ("POST", ADDONS + "/{addonId}/archive"): lambda w: (f"{ADDONS}/{_addon(w, 'publish')}/archive", None),
}
