"""A request that succeeds for every route that changes a profile, an override or an app without a key.

Owns: the table's part about them. Does not own: the rest of the table (changes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.api.scope_table import LISTINGS, OVERRIDES, PROFILES
from tests.fixtures.billing_bodies import PLAIN, PROFILE, of_app

if TYPE_CHECKING:
    from tests.api.changes import World

INSTALL = f"{LISTINGS}/sandbox/install"


def app(world: World) -> str:
    """The id of a new sandbox."""
    return str(world.make(INSTALL, {"createBillingProfile": False})["app"]["id"])


def profile_body(world: World) -> dict[str, Any]:
    """With a prefix that nothing has yet."""
    numbering = {**PROFILE["numbering"], "prefix": world.name().upper()}
    return {**PROFILE, "numbering": numbering, "default": False, "apps": of_app(app(world))}


def profile(world: World) -> str:
    """The path of a new profile."""
    made = world.make(PROFILES, {**PLAIN, "apps": of_app(app(world))})
    return f"{PROFILES}/{made['id']}"


def changed(world: World) -> dict[str, Any]:
    """A body that replaces a profile."""
    body = profile_body(world)
    del body["apps"]
    return body


def overridden(world: World) -> str:
    """The path of the override of a new customer."""
    path = f"{OVERRIDES}/{world.customer()['id']}"
    world.make(path, {}, "PUT")
    return path


# By method and route: the path and the body of a request.
OF_PROFILES: dict[tuple[str, str], Callable[[World], tuple[str, Any]]] = {
    ("POST", LISTINGS + "/{listingType}/install"): lambda w: (
        f"{LISTINGS}/custom_invoicing/install",
        {"name": w.name(), "createBillingProfile": False},
    ),
    ("POST", PROFILES): lambda w: (PROFILES, profile_body(w)),
    ("PUT", PROFILES + "/{profileId}"): lambda w: (profile(w), changed(w)),
    ("DELETE", PROFILES + "/{profileId}"): lambda w: (profile(w), None),
    ("PUT", OVERRIDES + "/{customerIdOrKey}"): lambda w: (
        f"{OVERRIDES}/{w.customer()['key']}",
        {"billingProfileId": profile(w).rpartition("/")[2]},
    ),
    ("DELETE", OVERRIDES + "/{customerIdOrKey}"): lambda w: (overridden(w), None),
}
