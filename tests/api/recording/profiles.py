"""Billing profiles, overrides of customers, apps that need no key."""

from __future__ import annotations

from typing import Any

from tests.api.recording.world import World
from tests.api.scope_table import APPS, LISTINGS, OVERRIDES, PROFILES
from tests.fixtures.billing_bodies import PROFILE, of_app

INSTALL = f"{LISTINGS}/{{listingType}}/install"


def apps(world: World) -> str:
    """The id of an app of custom invoicing, which is the default."""
    ask, one, post = world.recorder.ask, f"{APPS}/{{appId}}", f"POST {INSTALL}"
    custom, sandbox = (f"{LISTINGS}/{type}/install" for type in ("custom_invoicing", "sandbox"))
    made: dict[str, Any] = ask(post, "custom invoicing", custom, {"name": "Our invoices"})
    ask(post, "a sandbox without a profile", sandbox, {"createBillingProfile": False})
    ask(post, "a type that needs a key", f"{LISTINGS}/stripe/install", {})
    ask(post, "an unknown type", f"{LISTINGS}/zz/install", {})
    ask(post, "an unknown member", sandbox, {"zz": 1})
    ask(post, "the Idempotency-Key was used", sandbox, {}, headers={"idempotency-key": "used"})
    app = str(made["app"]["id"])
    hooks = {"enableDraftSyncHook": True, "enableIssuingSyncHook": False}
    changed = {"type": "custom_invoicing", "name": "Our invoices", **hooks}
    ask(f"PUT {one}", "the hooks of custom invoicing", f"{APPS}/{app}", changed)
    ask(f"DELETE {one}", "a billing profile has it", f"{APPS}/{app}")
    return app


def profiles(world: World) -> None:
    ask, one, post = world.recorder.ask, f"{PROFILES}/{{profileId}}", f"POST {PROFILES}"
    app = apps(world)
    body = {
        **PROFILE, "name": "Europe", "description": "Customers in the euro area", "metadata": {"team": "finance"},
        "default": False, "apps": of_app(app),
    }  # fmt: skip
    made = ask(post, "one with every member", PROFILES, body)
    path = f"{PROFILES}/{made['id']}"
    small = {
        "name": "Plain",
        "supplier": {"name": "Us"},
        "default": False,
        "workflow": {},
        "apps": of_app(app),
    }
    other = ask(post, "one with defaults", PROFILES, small)
    ask(post, "apps that differ", PROFILES, {**small, "apps": {**of_app(app), "tax": world.app}})
    ask(post, "an unknown member", PROFILES, {**small, "zz": 1})
    ask(f"GET {PROFILES}", "all of them", PROFILES)
    ask(f"GET {PROFILES}", "an unknown order", f"{PROFILES}?orderBy=zz")
    ask(f"GET {one}", "one", path)
    ask(f"GET {one}", "one with its apps", f"{path}?expand=apps")
    ask(f"GET {one}", "something else to expand", f"{path}?expand=zz")
    ask(f"PUT {one}", "it is sent back with a change", path, {**made, "description": "The euro area"})
    ask(f"PUT {one}", "other apps", path, {**made, "apps": {}})
    gone = f"{PROFILES}/{other['id']}"
    ask(f"DELETE {one}", "it is deleted", gone)
    ask(f"DELETE {one}", "it is deleted already", gone)
    ask(f"PUT {one}", "a deleted one", gone, {**small, "apps": None})
    overrides(world, made["id"])
    ask(f"DELETE {one}", "an override names it", path)


def overrides(world: World, profile: str) -> None:
    ask, one, acme = world.recorder.ask, f"{OVERRIDES}/{{customerIdOrKey}}", f"{OVERRIDES}/acme"
    ask(f"GET {one}", "a customer without an override", acme)
    ask(f"PUT {one}", "a customer gets a profile", acme, {"billingProfileId": profile})
    ask(f"PUT {one}", "an unknown profile", acme, {"billingProfileId": "zz"})
    ask(f"PUT {one}", "an unknown member", acme, {"zz": 1})
    ask(f"GET {one}", "with the customer and its apps", f"{acme}?expand=customer&expand=apps")
    ask(f"GET {one}", "something else to expand", f"{acme}?expand=zz")
    ask(f"GET {OVERRIDES}", "all of them", OVERRIDES)
    ask(f"GET {OVERRIDES}", "an unknown order", f"{OVERRIDES}?orderBy=zz")
    ask(f"DELETE {one}", "it is deleted", acme)
    ask(f"DELETE {one}", "it is deleted already", acme)
    ask(f"PUT {one}", "it is set again", acme, {"billingProfileId": profile})
