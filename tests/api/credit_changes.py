"""A request that succeeds for every route that changes credits.

Owns: these rows of the table in changes. Does not own: the table, making what others need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.api.scope_table import CREDITS

if TYPE_CHECKING:
    from tests.api.changes import World

PURCHASE = {"currency": "EUR", "per_unit_cost_basis": "0.8", "availability_policy": "on_settlement"}
PACK: dict[str, Any] = {
    "name": "Pack", "description": "d", "currency": "EUR", "amount": "100.5",
    "funding_method": "external", "purchase": PURCHASE, "filters": {"features": ["tokens"]}, "priority": 5,
    "effective_at": "2026-01-01T00:00:00Z", "expires_after": "P10Y",
}  # fmt: skip
TOP_UP: dict[str, Any] = {
    "threshold": "0", "amount": "5", "target": "20", "per_unit_cost_basis": "0.9", "funding_method": "external",
    "availability_policy": "on_settlement", "expires_after": "P30D", "priority": 3,
    "max_amount": "60", "period": "P3M",
}  # fmt: skip


def credits_of(world: World) -> str:
    """The path of the credits of a new customer."""
    return CREDITS.replace("{customerIdOrKey}", str(world.customer()["key"]))


def _granted(world: World) -> str:
    path = credits_of(world)
    made = world.make(f"{path}/grants", PACK)
    return f"{path}/grants/{made['id']}"


def _topped_up(world: World) -> str:
    path = f"{credits_of(world)}/top-ups/EUR"
    world.make(path, TOP_UP, "PUT")
    return path


# By method and route: the path and the body of a request.
OF_CREDITS: dict[tuple[str, str], Callable[[World], tuple[str, Any]]] = {
    ("POST", CREDITS + "/grants"): lambda w: (f"{credits_of(w)}/grants", {**PACK, "key": w.name()}),
    ("POST", CREDITS + "/grants/{grantId}/void"): lambda w: (f"{_granted(w)}/void", None),
    ("POST", CREDITS + "/grants/{grantId}/settlement/external"): lambda w: (
        f"{_granted(w)}/settlement/external",
        {"status": "settled"},
    ),
    ("POST", CREDITS + "/adjustments"): lambda w: (
        f"{credits_of(w)}/adjustments",
        {"name": "Goodwill", "description": "d", "currency": "EUR", "amount": "5"},
    ),
    ("PUT", CREDITS + "/top-ups/{currency}"): lambda w: (f"{credits_of(w)}/top-ups/EUR", TOP_UP),
    ("DELETE", CREDITS + "/top-ups/{currency}"): lambda w: (_topped_up(w), None),
}
