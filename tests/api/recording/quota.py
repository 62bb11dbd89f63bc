"""Entitlements, grants, values and histories, by customer (v1, v2) and by subject."""

from __future__ import annotations

from typing import Any

from tests.api.recording.world import World

ONE = "/{entitlementIdOrFeatureKey}"
V1, V2, BY_SUBJECT = "/api/v1/customers", "/api/v2/customers", "/api/v1/subjects"
HOLDERS = (
    (f"{V1}/{{customerIdOrKey}}/entitlements", f"{V1}/acme/entitlements"),
    (f"{V2}/{{customerIdOrKey}}/entitlements", f"{V2}/acme/entitlements"),
    (f"{BY_SUBJECT}/{{subjectIdOrKey}}/entitlements", f"{BY_SUBJECT}/acme-prod/entitlements"),
)
TOKENS = "gpt_4_tokens"
GRANT: dict[str, Any] = {
    "amount": 100000.5,
    "priority": 1,
    "effectiveAt": "2026-01-15T12:00:00Z",
    "expiration": {"duration": "MONTH", "count": 3},
    "recurrence": {"interval": "MONTH", "anchor": "2026-01-15T12:00:00Z"},
    "minRolloverAmount": 0,
    "maxRolloverAmount": 50000,
    "metadata": {"order": "A-1"},
}
METERED: dict[str, Any] = {
    "type": "metered",
    "featureKey": TOKENS,
    "usagePeriod": {"interval": "MONTH", "anchor": "2026-01-01T00:00:00+01:00", "timeZone": "Europe/Berlin"},
    "measureUsageFrom": "2026-01-01T00:00:00Z",
    "issueAfterReset": 1000000,
    "issueAfterResetPriority": 2,
    "isSoftLimit": False,
    "preserveOverageAtReset": True,
    "gracePeriod": "PT1H",
    "grants": [GRANT],
    "metadata": {"contract": "2026-7"},
}


def entitlements(world: World) -> None:
    for operation, path in HOLDERS:
        _entitlements(world, operation, path)
    _of_all(world)


def _entitlements(world: World, operation: str, path: str) -> None:
    """Ends with one metered entitlement in force, and one that is static."""
    ask, post = world.recorder.ask, f"POST {operation}"
    get = f"GET {operation}"
    if operation != HOLDERS[0][0]:  # one is in force at a time
        for feature in (TOKENS, "seats"):
            one = f"DELETE {HOLDERS[0][0]}{ONE}"
            ask(one, f"{feature} ends, to be given anew", f"{HOLDERS[0][1]}/{feature}")
    made = ask(post, "a metered entitlement with a grant", path, METERED)
    ask(
        post,
        "a static entitlement",
        path,
        {"type": "static", "featureKey": "seats", "config": '{"seats": 5}'},
    )
    ask(post, "a boolean entitlement", path, {"type": "boolean", "featureKey": "sso"})
    ask(post, "one is in force", path, METERED)
    ask(post, "an unknown member", path, {**METERED, "zz": 1})
    ask(post, "an unknown feature", path, {**METERED, "featureKey": "nothing"})
    ask(post, "no usage period", path, {"type": "metered", "featureKey": TOKENS})
    ask(get, "all of them", path)
    ask(get, "ended ones too", f"{path}?includeDeleted=true")
    if "subjects" not in operation:
        ask(get, "an unknown order", f"{path}?orderBy=zz")
    else:
        ask(get, "a flag that is none", f"{path}?includeDeleted=zz")
    ask(f"GET {operation}{ONE}", "by feature", f"{path}/{TOKENS}")
    ask(f"GET {operation}{ONE}", "by id", f"{path}/{made['id']}")
    ask(f"DELETE {operation}{ONE}", "an entitlement is ended", f"{path}/sso")
    override = {**METERED, "gracePeriod": "PT2H", "grants": []}
    ask(f"PUT {operation}{ONE}/override", "replaced by another", f"{path}/{TOKENS}/override", override)
    ask(
        f"PUT {operation}{ONE}/override",
        "an unknown member",
        f"{path}/{TOKENS}/override",
        {**METERED, "zz": 1},
    )
    _grants(world, operation, path)
    reset = f"POST {operation}{ONE}/reset"
    world.shift(120)
    ask(
        reset,
        "a new usage period",
        f"{path}/{TOKENS}/reset",
        {"retainAnchor": True, "preserveOverage": False},
    )
    ask(reset, "an unknown member", f"{path}/{TOKENS}/reset", {"zz": 1})
    ask(reset, "before the current period", f"{path}/{TOKENS}/reset", {"effectiveAt": "2025-01-01T00:00:00Z"})
    ask(reset, "not metered", f"{path}/seats/reset")


def _grants(world: World, operation: str, path: str) -> None:
    ask, grants = world.recorder.ask, f"{operation}{ONE}/grants"
    place = f"{path}/{TOKENS}/grants"
    made = ask(f"POST {grants}", "an amount is granted", place, GRANT)
    ask(
        f"POST {grants}",
        "the least that it takes",
        place,
        {"amount": "10", "effectiveAt": "2026-01-15T12:00:00Z"},
    )
    ask(f"POST {grants}", "an unknown member", place, {**GRANT, "zz": 1})
    ask(f"POST {grants}", "an amount that is none", place, {**GRANT, "amount": "zz"})
    ask(f"POST {grants}", "not metered", f"{path}/seats/grants", GRANT)
    ask(f"GET {grants}", "all of them", place)
    ask(f"GET {grants}", "an unknown order", f"{place}?orderBy=zz")
    world.grant = made["id"]


def _of_all(world: World) -> None:
    ask = world.recorder.ask
    made = ask(f"GET {HOLDERS[0][0]}{ONE}", "the one in force", f"{HOLDERS[0][1]}/{TOKENS}")
    world.entitlement = made
    for version in ("v1", "v2"):
        base = f"/api/{version}/entitlements"
        ask(f"GET {base}", "all of them", base)
        few = f"{base}?feature={TOKENS}&customerKeys=acme&entitlementType=metered&excludeInactive=true&orderBy=id"
        ask(f"GET {base}", "those that match, a page", f"{few}&page=1&pageSize=1")
        ask(f"GET {base}", "an unknown order", f"{base}?orderBy=zz")
        ask(f"GET {base}/{{entitlementId}}", "one", f"{base}/{made['id']}")
        grants = f"/api/{version}/grants"
        ask(f"GET {grants}", "all of them", grants)
        holder = "subject=acme-prod" if version == "v1" else "customer=acme"
        ask(
            f"GET {grants}",
            "those that match, a page",
            f"{grants}?feature={TOKENS}&{holder}&page=1&pageSize=1",
        )
        ask(f"GET {grants}", "an unknown order", f"{grants}?orderBy=zz")
    void = "DELETE /api/v1/grants/{grantId}"
    ask(void, "an instant that is none", f"/api/v1/grants/{world.grant}?at=zz")
    ask(void, "a grant is voided", f"/api/v1/grants/{world.grant}")
    ask(void, "it is voided already", f"/api/v1/grants/{world.grant}")


def values(world: World) -> None:
    world.balances()
    for operation, path in HOLDERS:
        _history(world, operation, path)
    for operation, path in HOLDERS[1:]:
        _values(world, f"GET {operation}{ONE}/value", path)
    ask, live = world.recorder.ask, f"GET {V1}/{{customerIdOrKey}}/entitlements/{{featureKey}}/value"
    ask(live, "of a metered entitlement", f"{V1}/acme/entitlements/{TOKENS}/value")
    ask(live, "of a static entitlement", f"{V1}/acme/entitlements/seats/value")
    ask(live, "no entitlement to it", f"{V1}/acme/entitlements/nothing/value")
    ask(live, "Redis is absent", f"{V1}/acme/entitlements/{TOKENS}/value", api=world.without_redis)
    access = f"GET {V1}/{{customerIdOrKey}}/access"
    ask(access, "all that a customer may use", f"{V1}/acme/access")
    ask(access, "Redis is absent", f"{V1}/acme/access", api=world.without_redis)
    check, path = "POST /api/v1/entitlements/check", "/api/v1/entitlements/check"
    pairs = (("acme", TOKENS), ("acme", "seats"), ("acme", "sso"), ("acme", "nothing"), ("unknown", TOKENS))
    checks = [{"customer": customer, "feature": feature} for customer, feature in pairs]
    ask(check, "each answer", path, {"checks": checks})
    ask(check, "Redis is absent", path, {"checks": checks}, api=world.without_redis)
    ask(check, "an unknown member", path, {"checks": checks, "zz": 1})
    ask(check, "too many questions", path, {"checks": checks[:1] * 1001})


def _history(world: World, operation: str, path: str) -> None:
    ask, history = world.recorder.ask, f"GET {operation}{ONE}/history"
    ask(history, "since the last reset", f"{path}/{TOKENS}/history")
    ask(
        history,
        "by hour, with late usage",
        f"{path}/{TOKENS}/history?from=2026-01-15T12:00:00Z&windowSize=HOUR",
    )
    ask(history, "an unknown window", f"{path}/{TOKENS}/history?windowSize=zz")
    ask(history, "an unknown zone", f"{path}/{TOKENS}/history?windowTimeZone=zz")
    ask(history, "the future", f"{path}/{TOKENS}/history?to=2027-01-01")
    ask(history, "not metered", f"{path}/seats/history")


def _values(world: World, value: str, path: str) -> None:
    ask = world.recorder.ask
    ask(value, "now", f"{path}/{TOKENS}/value")
    ask(value, "of a static entitlement", f"{path}/seats/value")
    ask(value, "at another time", f"{path}/{TOKENS}/value?time=2026-01-15T13:00:00Z")
    ask(value, "of a static entitlement, before it began", f"{path}/seats/value?time=2026-01-01")
    ask(value, "in the future", f"{path}/{TOKENS}/value?time=2027-01-01")
    ask(value, "an instant that is none", f"{path}/{TOKENS}/value?time=zz")
    ask(value, "Redis is absent", f"{path}/{TOKENS}/value", api=world.without_redis)


def imports(world: World) -> None:
    ask, post, path = world.recorder.ask, "POST /api/v1/imports", "/api/v1/imports"
    items = [
        {"subject": {"key": "hooli-prod", "displayName": "Hooli, production"}},
        {
            "customer": {
                "key": "hooli",
                "name": "Hooli",
                "usageAttribution": {"subjectKeys": ["hooli-prod"]},
            }
        },
        {"entitlement": {"customerId": "hooli", **METERED}},
        {"grant": {"customerId": "hooli", "entitlementId": TOKENS, "amount": 500}},
    ]
    once = {"headers": {"idempotency-key": "import-1"}}
    ask(post, "a customer with all that it needs", path, items, **once)
    ask(post, "the same again", path, items, **once)
    ask(post, "another import under its key", path, [{"subject": {"key": "other"}}], **once)
    ask(
        post,
        "one is refused",
        path,
        [items[1], {"subject": {"key": "hooli-test"}}],
    )
    ask(post, "too many", path, [{"subject": {"key": "a"}}] * 1001)
