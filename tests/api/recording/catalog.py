"""Plans, add-ons, add-ons of plans and currencies."""

from __future__ import annotations

import json
from hashlib import blake2b

from tests.api.recording.world import World
from tests.api.scope_table import ADDONS, FEATURES, PLAN_ADDONS, PLANS
from tests.fixtures import catalog_bodies
from tests.fixtures.catalog_bodies import ASSIGNED, FEE, without_key

PRO = catalog_bodies.FULL_PLAN
MORE = {**catalog_bodies.FULL_ADDON, "instanceType": "multiple", "rateCards": [{**FEE, "key": "more_fee"}]}


def plans(world: World) -> None:
    """Makes the plans `pro`, which is published, and `basic`, a draft; and the add-on `more`."""
    make(world, FEATURES, {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    ask, one = world.recorder.ask, f"{PLANS}/{{planId}}"
    post, get = f"POST {PLANS}", f"GET {PLANS}"
    ask(post, "a plan is created", PLANS, PRO)
    ask(post, "the key has a draft", PLANS, PRO)
    wrong = {**PRO, "key": "other", "billingCadence": "P2M"}
    ask(post, "what no change can correct", PLANS, wrong)
    ask(post, "an unknown member", PLANS, {**PRO, "zz": 1})
    basic = {**PRO, "key": "basic", "name": "Basic", "currency": "USD", "phases": []}
    ask(post, "a draft that cannot be published", PLANS, basic)
    put = f"PUT {one}"
    body = {**without_key(PRO), "name": "Professional"}
    ask(put, "a draft is replaced", f"{PLANS}/pro", body)
    ask(put, "an unknown member", f"{PLANS}/pro", {**body, "zz": 1})
    _addons(world)
    _assigned(world)
    ask(f"POST {one}/publish", "a plan is published", f"{PLANS}/pro/publish")
    ask(f"POST {one}/publish", "one that cannot be", f"{PLANS}/basic/publish")
    make(world, ADDONS, {**MORE, "key": "extra", "rateCards": [{**FEE, "key": "extra_fee"}]})
    make(world, f"{ADDONS}/extra/publish")
    make(world, f"{PLANS}/pro/addons", {"addonId": "extra", **ASSIGNED})
    again = f"POST {PLANS}/{{planIdOrKey}}/next"
    ask(again, "a draft is made of a plan", f"{PLANS}/pro/next")
    ask(again, "the key has a draft", f"{PLANS}/pro/next")
    ask(get, "all of them", f"{PLANS}?pageSize=2&orderBy=version&order=DESC")
    conditions = f"{PLANS}?key=pro&status=draft,active&currency=EUR&keyVersion[pro]=1&includeDeleted=true"
    ask(get, "those that match", conditions)
    ask(get, "an unknown order", f"{PLANS}?orderBy=zz")
    ask(get, "an unknown status", f"{PLANS}?status=zz")
    ask(f"GET {one}", "the newest version of a key", f"{PLANS}/basic?includeLatest=true")
    ask(f"GET {one}", "the active version of a key", f"{PLANS}/pro")
    ask(f"GET {one}", "a key without an active version", f"{PLANS}/basic")
    active = _id(world, f"{PLANS}/pro")
    ask(f"DELETE {one}", "an active one", f"{PLANS}/{active}")
    make(world, PLANS, {**PRO, "key": "old"})
    make(world, f"{PLANS}/old/publish")
    ask(f"POST {one}/archive", "a plan is archived", f"{PLANS}/old/archive")
    ask(f"POST {one}/archive", "one that is not active", f"{PLANS}/basic/archive")
    ask(f"DELETE {one}", "a draft is deleted", f"{PLANS}/pro")
    ask("GET /api/v1/info/currencies", "all of them", "/api/v1/info/currencies")


def _addons(world: World) -> None:
    ask, one = world.recorder.ask, f"{ADDONS}/{{addonId}}"
    post, get = f"POST {ADDONS}", f"GET {ADDONS}"
    ask(post, "an add-on is created", ADDONS, MORE)
    ask(post, "the key has a draft", ADDONS, MORE)
    ask(post, "an unknown member", ADDONS, {**MORE, "zz": 1})
    ask(post, "another one", ADDONS, {**MORE, "key": "aaa", "currency": "USD"})
    body = {**without_key(MORE), "name": "More of it"}
    ask(f"PUT {one}", "a draft is replaced", f"{ADDONS}/more", body)
    ask(f"PUT {one}", "an unknown member", f"{ADDONS}/more", {**body, "zz": 1})
    ask(f"POST {one}/publish", "an add-on is published", f"{ADDONS}/more/publish")
    ask(f"POST {one}/publish", "one that is not a draft", f"{ADDONS}/{_id(world, f'{ADDONS}/more')}/publish")
    ask(post, "the next version of a key", ADDONS, MORE)
    ask(get, "all of them", f"{ADDONS}?orderBy=key")
    ask(get, "those that match", f"{ADDONS}?key=more&status=active&currency=EUR&keyVersion[more]=1")
    ask(get, "an unknown order", f"{ADDONS}?orderBy=zz")
    ask(f"GET {one}", "the active version of a key", f"{ADDONS}/more")
    ask(f"GET {one}", "the newest version of a key", f"{ADDONS}/aaa?includeLatest=true")
    make(world, ADDONS, {**MORE, "key": "old"})
    make(world, f"{ADDONS}/old/publish")
    ask(f"POST {one}/archive", "an add-on is archived", f"{ADDONS}/old/archive")


def _assigned(world: World) -> None:
    ask, one = world.recorder.ask, f"{PLAN_ADDONS}/{{planAddonId}}"
    path, body = f"{PLANS}/pro/addons", {"addonId": "more", **ASSIGNED}
    ask(f"POST {PLAN_ADDONS}", "an add-on is assigned", path, body)
    ask(f"POST {PLAN_ADDONS}", "it is assigned already", path, body)
    ask(f"POST {PLAN_ADDONS}", "an unknown member", path, {**body, "zz": 1})
    make(world, path, {**body, "addonId": "aaa"})
    ask(f"GET {PLAN_ADDONS}", "all of them", f"{path}?orderBy=key&pageSize=1")
    ask(f"GET {PLAN_ADDONS}", "those that match", f"{path}?key=more&keyVersion[more]=1&includeDeleted=true")
    ask(f"GET {PLAN_ADDONS}", "an unknown order", f"{path}?orderBy=zz")
    ask(f"GET {one}", "by the key of the add-on", f"{path}/more")
    ask(f"PUT {one}", "it is replaced", f"{path}/more", {"fromPlanPhase": "trial", "maxQuantity": 5})
    ask(f"PUT {one}", "an unknown member", f"{path}/more", {"fromPlanPhase": "trial", "zz": 1})
    ask(f"DELETE {one}", "it is taken away", f"{path}/aaa")
    ask(f"DELETE {ADDONS}/{{addonId}}", "a draft is deleted", f"{ADDONS}/aaa")


def make(world: World, path: str, body: object = None) -> None:
    """What others need; it is not recorded. Its ids follow from its key, so that each run makes the same ones."""
    key = blake2b(json.dumps([path, body]).encode(), digest_size=16).hexdigest()
    status, found = world.answer("POST", path, body, {"idempotency-key": key})
    assert status < 300, found


def _id(world: World, path: str) -> str:
    return str(world.answer("GET", path, None)[1]["id"])
