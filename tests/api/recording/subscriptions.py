"""Subscriptions of customers and their add-ons."""

from __future__ import annotations

from typing import Any

from tests.api.recording.catalog import make
from tests.api.recording.world import World
from tests.api.scope_table import ADDONS, CUSTOMERS, PLANS, SUBSCRIPTION_ADDONS, SUBSCRIPTIONS
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FEE, without_key

ONE = SUBSCRIPTIONS + "/{subscriptionId}"
ONE_ADDON = SUBSCRIPTION_ADDONS + "/{subscriptionAddonId}"
FLAT: dict[str, Any] = {
    "key": "flat",
    "name": "Flat",
    "currency": "EUR",
    "billingCadence": "P1M",
    "phases": [
        {"key": "trial", "name": "Trial", "duration": "P1M", "rateCards": [{**FEE, "price": None}]},
        {"key": "paid", "name": "Paid", "duration": None, "rateCards": [FEE]},
    ],
}
CUSTOM = {**without_key(FLAT), "name": "Only theirs", "currency": "EUR"}
WAS_USED = "the Idempotency-Key was used for another request"


def subscriptions(world: World) -> None:
    """Makes customers with subscriptions to the plans `pro` and `flat`."""
    addon = _addon(world)
    _create(world)
    running = _read(world)
    _edit(world, running)
    _end(world, running)
    _bought(world, addon)
    _replace(world)
    # For tests of the list's parameters: ann has a second one, after the first.
    make(world, f"{SUBSCRIPTIONS}/{running}/change", {"timing": "next_billing_cycle", "customPlan": CUSTOM})


def _addon(world: World) -> str:
    """The id of an add-on that the plan `flat` offers."""
    make(world, ADDONS, {**ADDON, "key": "seats", "rateCards": [{**FEE, "key": "seats"}]})
    make(world, f"{ADDONS}/seats/publish")
    make(world, PLANS, FLAT)
    make(world, f"{PLANS}/flat/addons", {"addonId": "seats", **ASSIGNED})
    make(world, f"{PLANS}/flat/publish")
    return str(world.answer("GET", f"{ADDONS}/seats", None)[1]["id"])


def used(customer: str) -> dict[str, str]:
    """A header of a customer that its first request has: it belongs to the customer."""
    return {"idempotency-key": f"used by {customer}"}


def _customer(world: World, key: str) -> str:
    make(world, CUSTOMERS, {"key": key, "name": key.title()})
    return key


def _create(world: World) -> None:
    ask, post = world.recorder.ask, f"POST {SUBSCRIPTIONS}"
    order = {
        "customerKey": _customer(world, "ann"), "plan": {"key": "pro", "version": 1}, "startingPhase": "paid",
        "timing": "immediate", "billingAnchor": "2026-01-01T00:00:00Z", "metadata": {"contract": "7"},
    }  # fmt: skip
    ask(post, "a subscription is created", SUBSCRIPTIONS, order, headers=used("ann"))
    ask(
        post,
        WAS_USED,
        SUBSCRIPTIONS,
        {**order, "name": "N"},
        headers=used("ann"),
    )
    ask(post, "the customer has one", SUBSCRIPTIONS, order)
    ask(post, "a custom plan", SUBSCRIPTIONS, {"customerKey": _customer(world, "bea"), "customPlan": CUSTOM})
    broken = {**CUSTOM, "phases": [{**CUSTOM["phases"][1], "duration": "P1M"}]}
    ask(post, "a custom plan that is wrong", SUBSCRIPTIONS, {"customerKey": "bea", "customPlan": broken})
    ask(post, "no plan", SUBSCRIPTIONS, {"customerKey": "bea"})
    ask(post, "an unknown plan", SUBSCRIPTIONS, {"customerKey": "bea", "plan": {"key": "zz"}})
    ask(post, "an unknown customer", SUBSCRIPTIONS, {"customerKey": "zz", "plan": {"key": "pro"}})
    ask(post, "an unknown member", SUBSCRIPTIONS, {**order, "zz": 1})


def _read(world: World) -> str:
    """The id of the subscription of ann."""
    ask, listing = world.recorder.ask, f"{CUSTOMERS}/ann/subscriptions"
    _customer(world, "later")  # the entitlements are made before it
    operation = f"GET {CUSTOMERS}/{{customerIdOrKey}}/subscriptions"
    id = str(ask(operation, "all of a customer", listing)["items"][0]["id"])
    ask(operation, "those that match", f"{listing}?status=active,canceled&order=DESC&orderBy=activeTo")
    ask(operation, "an unknown order", f"{listing}?orderBy=zz")
    ask(operation, "an unknown status", f"{listing}?status=zz")
    ask(f"GET {ONE}", "with its items", f"{SUBSCRIPTIONS}/{id}")
    ask(f"GET {ONE}", "at another time", f"{SUBSCRIPTIONS}/{id}?at=2026-01-14T00:00:00Z")
    ask(f"GET {ONE}", "a time that is none", f"{SUBSCRIPTIONS}/{id}?at=zz")
    customer = f"DELETE {CUSTOMERS}/{{customerIdOrKey}}"
    ask(customer, "its subscription is not over", f"{CUSTOMERS}/ann")
    return id


def _edit(world: World, id: str) -> None:
    ask, path = world.recorder.ask, f"{SUBSCRIPTIONS}/{id}"
    card = {**FEE, "key": "support", "name": "Support"}
    edit = {
        "customizations": [{"op": "add_item", "phaseKey": "paid", "rateCard": card}],
        "timing": "next_billing_cycle",
    }
    ask(f"PATCH {ONE}", "an item is added", path, edit)
    ask(f"PATCH {ONE}", WAS_USED, path, edit, headers=used("ann"))
    ask(
        f"PATCH {ONE}",
        "an unknown phase",
        path,
        {"customizations": [{"op": "stretch_phase", "phaseKey": "zz", "extendBy": "P1M"}]},
    )
    ask(f"PATCH {ONE}", "an unknown member", path, {**edit, "zz": 1})


def _end(world: World, id: str) -> None:
    ask, path = world.recorder.ask, f"{SUBSCRIPTIONS}/{id}"
    cancel = f"POST {ONE}/cancel"
    ask(cancel, "it ends with its billing period", f"{path}/cancel", {"timing": "next_billing_cycle"})
    ask(cancel, "it is canceled already", f"{path}/cancel")
    ask(cancel, WAS_USED, f"{path}/cancel", headers=used("ann"))
    undo = f"POST {ONE}/unschedule-cancelation"
    ask(undo, "it continues", f"{path}/unschedule-cancelation")
    ask(undo, "it is not canceled", f"{path}/unschedule-cancelation")
    ask(
        undo,
        WAS_USED,
        f"{path}/unschedule-cancelation",
        headers=used("ann"),
    )
    make(world, f"{path}/cancel", {"timing": "next_billing_cycle"})
    later = {"customerKey": "ann", "plan": {"key": "flat"}, "timing": "2026-03-01T00:00:00Z"}
    after = str(ask(f"POST {SUBSCRIPTIONS}", "one that begins later", SUBSCRIPTIONS, later)["id"])
    ask(f"DELETE {ONE}", "one that has begun", path)
    ask(f"DELETE {ONE}", WAS_USED, path, headers=used("ann"))
    ask(f"DELETE {ONE}", "it is deleted before it begins", f"{SUBSCRIPTIONS}/{after}")
    make(world, SUBSCRIPTIONS, {**later, "name": "Again"})
    ask(undo, "another one begins after it", f"{path}/unschedule-cancelation")
    restore = f"POST {ONE}/restore"
    ask(restore, "it continues, and the one after it is deleted", f"{path}/restore")
    ask(restore, "it is not canceled", f"{path}/restore")
    ask(restore, WAS_USED, f"{path}/restore", headers=used("ann"))


def _replace(world: World) -> None:
    ask = world.recorder.ask
    order = {"customerKey": _customer(world, "cy"), "plan": {"key": "flat"}}
    id = str(ask(f"POST {SUBSCRIPTIONS}", "another customer", SUBSCRIPTIONS, order, headers=used("cy"))["id"])
    make(world, f"{PLANS}/flat/next")
    draft = world.answer("GET", f"{PLANS}/flat?includeLatest=true", None)[1]["id"]
    make(world, f"{PLANS}/{draft}/publish")
    path, change, migrate = f"{SUBSCRIPTIONS}/{id}", f"POST {ONE}/change", f"POST {ONE}/migrate"
    to = {"timing": "immediate", "targetVersion": 2, "startingPhase": "paid"}
    ask(migrate, "a version that there is not", f"{path}/migrate", {**to, "targetVersion": 7})
    ask(migrate, WAS_USED, f"{path}/migrate", to, headers=used("cy"))
    moved = str(ask(migrate, "to the version that is sold", f"{path}/migrate", to)["next"]["id"])
    ask(migrate, "one that has ended", f"{path}/migrate", to)
    path = f"{SUBSCRIPTIONS}/{moved}"
    body = {"timing": "next_billing_cycle", "customPlan": CUSTOM, "name": "Theirs"}
    ask(change, "no timing", f"{path}/change", {"customPlan": CUSTOM})
    ask(change, WAS_USED, f"{path}/change", body, headers=used("cy"))
    ask(change, "to a custom plan at the end of the billing period", f"{path}/change", body)
    ask(change, "one that is canceled", f"{path}/change", body)


def _bought(world: World, addon: str) -> None:
    ask, post = world.recorder.ask, f"POST {SUBSCRIPTION_ADDONS}"
    order = {"customerKey": _customer(world, "dot"), "plan": {"key": "flat"}}
    id = str(
        world.recorder.ask(
            f"POST {SUBSCRIPTIONS}", "one without a version", SUBSCRIPTIONS, order, headers=used("dot")
        )["id"]
    )
    path = f"{SUBSCRIPTIONS}/{id}/addons"
    body = {
        "addon": {"id": addon},
        "quantity": 2,
        "timing": "immediate",
        "name": "Seats",
        "metadata": {"po": "1"},
    }
    ask(post, "it is not offered", path, {**body, "addon": {"id": "more"}})
    ask(post, "an unknown member", path, {**body, "zz": 1})
    ask(post, "too many", path, {**body, "quantity": 11})
    ask(post, WAS_USED, path, body, headers=used("dot"))
    bought = str(ask(post, "an add-on is bought", path, body)["id"])
    ask(post, "it was bought before", path, body)
    ask(f"GET {SUBSCRIPTION_ADDONS}", "all of them", path)
    ask(f"GET {ONE_ADDON}", "by the id of the purchase", f"{path}/{bought}")
    ask(f"GET {ONE_ADDON}", "by the id of the add-on", f"{path}/{addon}")
    more = {"quantity": 3, "timing": "next_billing_cycle", "name": "More seats"}
    ask(f"PATCH {ONE_ADDON}", "its quantity changes later", f"{path}/{bought}", more)
    ask(f"PATCH {ONE_ADDON}", "a timing without a quantity", f"{path}/{bought}", {"timing": "immediate"})
    ask(
        f"PATCH {ONE_ADDON}",
        WAS_USED,
        f"{path}/{bought}",
        more,
        headers=used("dot"),
    )
    ask(f"PATCH {ONE_ADDON}", "it ends", f"{path}/{bought}", {"quantity": 0})
