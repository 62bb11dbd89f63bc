"""Customers, subjects, features and keys."""

from __future__ import annotations

from tests.api.recording.world import World

CUSTOMERS, SUBJECTS, FEATURES = "/api/v1/customers", "/api/v1/subjects", "/api/v1/features"
KEYS = "/api/v1/keys"
ACME = {
    "key": "acme",
    "name": "ACME Inc.",
    "description": "The first customer.",
    "usageAttribution": {"subjectKeys": ["acme-prod", "acme-test"]},
    "primaryEmail": "billing@acme.example",
    "currency": "EUR",
    "timeZone": "Europe/Berlin",
    "billingAddress": {
        "country": "DE",
        "postalCode": "10115",
        "state": "BE",
        "city": "Berlin",
        "line1": "Torstr. 1",
        "line2": "2nd floor",
        "phoneNumber": "+49 30 1",
    },
    "metadata": {"tier": "gold"},
}
TOKENS = {
    "key": "gpt_4_tokens",
    "name": "Tokens of GPT-4",
    "meterSlug": "tokens",
    "advancedMeterGroupByFilters": {"model": {"$in": ["gpt-4", "gpt-4o"]}},
    "metadata": {"team": "ai"},
    "unitCost": {"type": "manual", "amount": "0.00002"},
}


def customers(world: World) -> None:
    """Makes the customer `acme`."""
    ask, post, one = world.recorder.ask, f"POST {CUSTOMERS}", f"{CUSTOMERS}/{{customerIdOrKey}}"
    world.customer = ask(post, "a customer is created", CUSTOMERS, ACME)
    again = {"headers": {"idempotency-key": "used"}}
    ask(post, "with an Idempotency-Key", CUSTOMERS, {"name": "Globex", "key": "globex"}, **again)
    ask(post, "the same again", CUSTOMERS, {"name": "Globex", "key": "globex"}, **again)
    ask(post, "a key or a subject is taken", CUSTOMERS, ACME)
    ask(post, "an unknown member", CUSTOMERS, {"name": "Other", "zz": 1})
    ask(post, "no JSON", CUSTOMERS, content=b"{", headers={"content-type": "application/json"})
    ask(post, "one whose name sorts before", CUSTOMERS, {"name": "AAA"})
    get = f"GET {CUSTOMERS}"
    ask(get, "all of them", CUSTOMERS)
    ask(get, "those that match", f"{CUSTOMERS}?key=ac&name=acme&subject=prod&primaryEmail=billing&orderBy=id")
    ask(get, "an unknown order", f"{CUSTOMERS}?orderBy=zz")
    ask(get, "a page that is none", f"{CUSTOMERS}?page=0")
    ask(f"GET {one}", "by key", f"{CUSTOMERS}/acme")
    ask(f"GET {one}", "by id", f"{CUSTOMERS}/{world.customer['id']}")
    world.customer = ask(
        f"PUT {one}", "a customer is changed", f"{CUSTOMERS}/acme", {**ACME, "name": "ACME Corp."}
    )
    ask(f"PUT {one}", "an unknown member", f"{CUSTOMERS}/acme", {**ACME, "zz": 1})
    ask(f"PUT {one}", "another's key", f"{CUSTOMERS}/acme", {**ACME, "key": "globex"})
    ask(f"DELETE {one}", "a customer is deleted", f"{CUSTOMERS}/globex")


def subjects(world: World) -> None:
    ask, one = world.recorder.ask, f"{SUBJECTS}/{{subjectIdOrKey}}"
    body = [{"key": "acme-prod", "displayName": "ACME, production", "metadata": {"plan": "gold"},
             "stripeCustomerId": "cus_1"}, {"key": "old"}]  # fmt: skip
    ask(f"POST {SUBJECTS}", "subjects are created", SUBJECTS, body)
    ask(f"POST {SUBJECTS}", "an unknown member", SUBJECTS, [{"key": "a", "zz": 1}])
    ask(f"POST {SUBJECTS}", "a body that is no list", SUBJECTS, {"key": "a"})
    ask(f"GET {SUBJECTS}", "all of them", SUBJECTS)
    ask(f"GET {one}", "by key", f"{SUBJECTS}/acme-prod")
    ask(f"DELETE {one}", "a subject is deleted", f"{SUBJECTS}/old")


def features(world: World) -> None:
    """Makes `gpt_4_tokens` (metered), `sso` and `seats`."""
    ask, one = world.recorder.ask, f"{FEATURES}/{{featureId}}"
    world.feature = ask(f"POST {FEATURES}", "a metered feature is created", FEATURES, TOKENS)
    ask(f"POST {FEATURES}", "a feature without a meter", FEATURES, {"key": "sso", "name": "Single sign-on"})
    ask(f"POST {FEATURES}", "another one", FEATURES, {"key": "seats", "name": "Seats"})
    ask(f"POST {FEATURES}", "a key is taken", FEATURES, TOKENS)
    ask(f"POST {FEATURES}", "an unknown member", FEATURES, {"key": "other", "name": "Other", "zz": 1})
    other = {"key": "other", "name": "Other", "meterSlug": "nothing"}
    ask(f"POST {FEATURES}", "an unknown meter", FEATURES, other)
    ask(f"GET {FEATURES}", "by offset and limit", FEATURES)
    ask(f"GET {FEATURES}", "a page", f"{FEATURES}?page=1&pageSize=1&meterSlug=tokens&includeArchived=true")
    ask(f"GET {FEATURES}", "an unknown order", f"{FEATURES}?orderBy=zz")
    ask(f"GET {one}", "by key", f"{FEATURES}/gpt_4_tokens")
    old = ask(f"POST {FEATURES}", "one that is archived later", FEATURES, {"key": "old", "name": "Old"})
    ask(f"DELETE {one}", "a feature is archived", f"{FEATURES}/old")
    ask(f"GET {one}", "an archived one, by id", f"{FEATURES}/{old['id']}")


def keys(world: World) -> None:
    ask, one = world.recorder.ask, f"{KEYS}/{{keyId}}"
    body = {"name": "gateway", "scopes": ["ingest"], "expiresAt": "2030-01-01T00:00:00Z"}
    made = ask(f"POST {KEYS}", "a key is created", KEYS, body)
    _hide(world, f"POST {KEYS}", made, "GATEWAY1")
    ask(f"POST {KEYS}", "an unknown scope", KEYS, {**body, "scopes": ["zz"]})
    ask(f"POST {KEYS}", "an unknown member", KEYS, {**body, "zz": 1})
    ask(f"POST {KEYS}", "a member that the server makes", KEYS, {**body, "hash": "zz"})
    ask(f"POST {KEYS}", "a scope that the key lacks", KEYS, {**body, "scopes": ["admin"]}, key="keys")
    rotated = ask(
        f"POST {one}/rotate", "a key is replaced", f"{KEYS}/{made['id']}/rotate", {"overlapS": 3600}
    )
    _hide(world, f"POST {one}/rotate", rotated, "GATEWAY2")
    ask(f"POST {one}/rotate", "an unknown member", f"{KEYS}/{rotated['id']}/rotate", {"zz": 1})
    ask(f"GET {KEYS}", "all of them", f"{KEYS}?orderBy=createdAt")
    ask(f"GET {KEYS}", "an unknown order", f"{KEYS}?orderBy=zz")
    ask(f"GET {one}", "one", f"{KEYS}/{rotated['id']}")
    ask(f"DELETE {one}", "a key is revoked", f"{KEYS}/{rotated['id']}")
    ask(f"DELETE {one}", "the last admin key", f"{KEYS}/{world.admin_id}")


def _hide(world: World, operation: str, made: dict[str, str], name: str) -> None:
    """A key's id and last characters are of chance, in the answer that shows them first too."""
    world.recorder.hide(made["id"], name)
    world.recorder.hide(f'"last4":"{made["last4"]}"', '"last4":"0000"')
    world.recorder.rewrite(operation)
