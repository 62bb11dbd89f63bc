"""Bodies that hold every member which the deciders read, and what becomes of each: the table of tests of inputs.

Owns: for each kind of command what it needs before it, its bodies, and what the stages make of its result. Does not
own: any test. Members that are only kept and shown are in SHOWN; every other has to change what the stages see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pipeline.agents.webhook_endpoints import Endpoints
from pipeline.core.access import api_key
from pipeline.core.access.api_key import ApiKey
from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.control import Decision
from pipeline.core.customers.attribution import Attribution
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.kinds import ATTRIBUTION
from pipeline.core.invoices.profiles_now import sandbox_profile_of
from pipeline.core.metering.meter import Meter
from pipeline.core.values import ulid
from pipeline.core.values.sealed import Seal
from pipeline.records import Definition
from tests.fixtures import catalog_bodies
from tests.fixtures.billing_bodies import PROFILE, of_app
from tests.fixtures.control_log import AT_MS, Log

Body = dict[str, Any]
SECRET, OTHER_SECRET = "whsec_" + "A" * 32, "whsec_" + "B" * 32
METER = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model", "kind": "$.kind"},
    "name": "Tokens",
    "description": "d",
    "eventFrom": "2026-01-01T00:00:00Z",
    "metadata": {"a": "b"},
}
CUSTOMER = {
    "key": "acme",
    "name": "ACME",
    "description": "d",
    "usageAttribution": {"subjectKeys": ["ann", "bob"]},
    "primaryEmail": "a@example.com",
    "currency": "EUR",
    "timeZone": "Europe/Berlin",
    "billingAddress": {
        "country": "DE",
        "postalCode": "1",
        "state": "B",
        "city": "B",
        "line1": "1",
        "line2": "2",
        "phoneNumber": "3",
    },
    "metadata": {"a": "b"},
}
SUBJECT = {"key": "ann", "displayName": "Ann", "metadata": {"a": "b"}, "stripeCustomerId": "cus_1"}
FEATURE = {
    "key": "f",
    "name": "F",
    "meterSlug": "tokens",
    "meterGroupByFilters": {"model": "a"},
    "metadata": {"a": "b"},
    "unitCost": {"type": "manual", "amount": "0.5"},
}
_LLM = {"type": "llm", "provider": "p", "model": "m", "tokenType": "input"}
_LLM_BY_COLUMN = {
    "type": "llm",
    "providerProperty": "model",
    "modelProperty": "kind",
    "tokenTypeProperty": "kind",
}
ENDPOINT = {
    "type": "WEBHOOK",
    "name": "E",
    "url": "https://example.com/a",
    "customHeaders": {"x-a": "b"},
    "signingSecret": SECRET,
    "disabled": True,
    "metadata": {"a": "b"},
}
SEALED = "sealed:v1:01234567:AAAA"
KEY_FACTS = {"stripeAccountId": "acct_1", "livemode": False, "maskedApiKey": "sk_test_***abc"}
APP = {"apiKey": SEALED, "name": "S", "webhookSecret": SEALED}
STRIPE_METER_FOUND = {
    "stripeMeterId": "mtr_1", "customerKey": "stripe_customer_id", "valueKey": "value", "formula": "sum",
    "active": True,
}  # fmt: skip
APP_ID = ulid.make(AT_MS, "default/c2/0")  # where the app is installed by the second command
STRIPE_METER = {
    "appId": APP_ID, "meterSlug": "tokens", "eventName": "tokens", "valueKey": "value",
    "customerKey": "stripe_customer_id",
    "window": "DAY", "multiplier": "0.5", "dimensions": {"model": "llm"}, "from": "2026-02-01T00:00:00Z",
    "metadata": {"a": "b"},
}  # fmt: skip
KEY = {"name": "k", "scopes": ["query", "ingest"], "expiresAt": "2030-01-01T00:00:00Z"}


class Case(NamedTuple):
    """bodies: as a client sends them, together with every member. before: commands, whose replies' bodies `added` gets.

    added: what the sender of the command puts in.
    """

    bodies: list[Body]
    before: Sequence[tuple[str, Body]] = ()
    added: Callable[[list[Any]], Body] = lambda replies: {}


def _made(number: int, id: str = "id") -> Body:
    made = api_key.make("live", bytes([number]) * api_key.RANDOM_BYTES)
    return {id: made.public, "hash": made.hash, "last4": made.last4}


# What plans and add-ons need before them, and bodies that have every form of their parts.
_SOLD = [
    ("meter.create", catalog_bodies.METER),
    ("feature.create", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"}),
    ("feature.create", {"key": "other", "name": "Other", "meterSlug": "tokens"}),
]
_CARDS = [catalog_bodies.FULL_CARD, *catalog_bodies.OTHER_CARDS]
_PHASE = catalog_bodies.FULL_PLAN["phases"][1]
PLANS = [{**catalog_bodies.FULL_PLAN, "phases": [{**_PHASE, "rateCards": [card]}]} for card in _CARDS]
ADDONS = [{**catalog_bodies.FULL_ADDON, "rateCards": [card]} for card in _CARDS]
_INSTALLED = ("app.install", {**APP, "checked": KEY_FACTS})
_MAPPED = [("meter.create", METER), _INSTALLED]


def _mapping(replies: list[Any]) -> Body:
    return {"checked": STRIPE_METER_FOUND}


SANDBOX, SANDBOX_PROFILE = sandbox_of("default").id, sandbox_profile_of("default").id
_ADMIN = ("key.create", {**KEY, "scopes": ["admin"], "expiresAt": None, **_made(9)})

CASES: dict[str, Case] = {
    "meter.create": Case([METER]),
    "meter.apply": Case([METER]),
    "meter.update": Case(
        [{"name": "N", "description": "e", "groupBy": {"kind": "$.kind"}, "metadata": {"c": "d"}}],
        [("meter.create", METER)],
        lambda _: {"slug": "tokens"},
    ),
    "customer.create": Case([CUSTOMER]),
    "customer.update": Case(
        [{**CUSTOMER, "key": "new"}], [("customer.create", CUSTOMER)], lambda _: {"id": "acme"}
    ),
    "subject.upsert": Case([SUBJECT]),
    "feature.create": Case(
        [
            FEATURE,
            {
                **{name: value for name, value in FEATURE.items() if name != "meterGroupByFilters"},
                "advancedMeterGroupByFilters": {"model": {"$in": ["a"]}},
                "unitCost": _LLM,
            },
            {**FEATURE, "unitCost": _LLM_BY_COLUMN},
        ],
        [("meter.create", METER)],
    ),
    "plan.create": Case(PLANS, _SOLD),
    "plan.update": Case(
        [catalog_bodies.without_key(plan) for plan in PLANS],
        [*_SOLD, ("plan.create", {**catalog_bodies.PLAN, "name": "Old"})],
        lambda _: {"id": "pro"},
    ),
    "addon.create": Case(ADDONS, _SOLD),
    "addon.update": Case(
        [catalog_bodies.without_key(addon) for addon in ADDONS],
        [*_SOLD, ("addon.create", {**catalog_bodies.ADDON, "name": "Old"})],
        lambda _: {"id": "more"},
    ),
    "plan-addon.create": Case(
        [{"addonId": "more", **catalog_bodies.ASSIGNED}],
        [*_SOLD, ("plan.create", catalog_bodies.PLAN), ("addon.create", catalog_bodies.ADDON)],
        lambda _: {"planId": "pro"},
    ),
    "plan-addon.update": Case(
        [{"fromPlanPhase": "trial", "maxQuantity": 5, "metadata": {"c": "d"}}],
        [
            *_SOLD,
            ("plan.create", catalog_bodies.PLAN),
            ("addon.create", catalog_bodies.ADDON),
            ("plan-addon.create", {"planId": "pro", "addonId": "more", **catalog_bodies.ASSIGNED}),
        ],
        lambda _: {"planId": "pro", "id": "more"},
    ),
    "key.create": Case([KEY], (), lambda _: _made(1)),
    "key.rotate": Case(
        [{"overlapS": 60}],
        [("key.create", {**KEY, **_made(1)})],
        lambda replies: {**_made(2, "newId"), "id": replies[0]["id"]},
    ),
    "key.revoke": Case(
        [{"force": True}], [_ADMIN], lambda replies: {"id": replies[0]["id"]}
    ),
    "portal-token.create": Case(
        [{"subject": "s", "allowedMeterSlugs": ["tokens"], "expiresAt": "2026-01-01T00:30:00Z"}],
        [("meter.create", METER)],
    ),
    "portal-token.invalidate": Case(
        [{"id": "", "subject": "s"}], [("portal-token.create", {"subject": "s"})] * 2
    ),
    "endpoint.create": Case([ENDPOINT]),
    "endpoint.update": Case(
        [{**ENDPOINT, "signingSecret": OTHER_SECRET}],
        [("endpoint.create", {**ENDPOINT, "customHeaders": {}, "disabled": False})],
        lambda replies: {"id": replies[0]["id"]},
    ),
    "endpoint.rotate": Case(
        [{"signingSecret": OTHER_SECRET, "overlapS": 60}],
        [("endpoint.create", ENDPOINT)],
        lambda replies: {"id": replies[0]["id"]},
    ),
    "endpoint.replay": Case(
        [{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "states": ["SUCCESS"]}],
        [("endpoint.create", ENDPOINT)],
        lambda replies: {"id": replies[0]["id"]},
    ),
    "event.resend": Case([{"channels": ["a"]}], (), lambda _: {"id": "e", "deliveries": {"a": "d1", "b": "d2"}}),
    "app.install": Case([APP], (), lambda _: {"checked": KEY_FACTS}),
    "app.update": Case(
        [{"type": "stripe", "name": "T", "description": "d", "metadata": {"a": "b"}, "secretAPIKey": SEALED + "B",
          "webhookSecret": SEALED + "C"},
         {"type": "custom_invoicing", "name": "T", "enableDraftSyncHook": True, "enableIssuingSyncHook": True}],
        [_INSTALLED, ("app.add", {"type": "custom_invoicing"})],
        lambda replies: {"id": replies[0]["id"], "checked": KEY_FACTS},
    ),
    "app.rotate": Case(
        [{"secretAPIKey": SEALED + "B"}],
        [_INSTALLED],
        lambda replies: {"id": replies[0]["id"], "checked": KEY_FACTS},
    ),
    "customer-app.upsert": Case(
        [{"customerId": "acme", "appId": APP_ID, "type": "stripe",
          "stripeCustomerId": "cus_1", "stripeDefaultPaymentMethodId": "pm_1"}],
        [("customer.create", CUSTOMER), _INSTALLED],
    ),
    "stripe-meter.create": Case([STRIPE_METER], _MAPPED, _mapping),
    "stripe-meter.update": Case(
        [{**STRIPE_METER, "eventName": "other", "multiplier": "0.25"}],
        [*_MAPPED, ("stripe-meter.create", {**STRIPE_METER, "checked": STRIPE_METER_FOUND})],
        lambda replies: {**_mapping(replies), "id": replies[2]["id"]},
    ),
    "stripe.retry": Case(
        [{"customer": "acme", "meter": "tokens", "accept": "stripe"}],
        [
            *_MAPPED,
            ("customer.create", CUSTOMER),
            ("meter.create", {**METER, "slug": "other"}),
            *(
                ("stripe-meter.create", {**STRIPE_METER, "meterSlug": slug, "eventName": slug,
                                         "checked": STRIPE_METER_FOUND})
                for slug in ("tokens", "other")
            ),
        ],
    ),
    "app.add": Case([{"type": "sandbox", "name": "S", "createBillingProfile": False}]),
    "billing-profile.create": Case([{**PROFILE, "apps": of_app(SANDBOX)}]),
    "billing-profile.update": Case([PROFILE], (), lambda _: {"id": SANDBOX_PROFILE}),
    "billing-override.upsert": Case(
        [{"customerId": "acme", "billingProfileId": SANDBOX_PROFILE}], [("customer.create", CUSTOMER)]
    ),
}  # fmt: skip

# Their clients send no body, or it is tested with its typed form (test_entitlement, test_grant, test_rule).
WITHOUT_BODY = {
    "meter.delete", "customer.delete", "subject.delete", "feature.archive", "endpoint.delete", "endpoint.disable",
    "rule.delete", "rule.test", "delivery.resend", "entitlement.delete", "grant.void", "plan.publish", "plan.archive",
    "plan.delete", "plan.next", "addon.publish", "addon.archive", "addon.delete", "plan-addon.delete",
    "app.unauthorized", "app.webhook",
    "app.uninstall", "customer-app.delete", "stripe-meter.delete", "billing-profile.delete", "billing-override.delete",
}  # fmt: skip
ELSEWHERE = {
    "entitlement.create", "entitlement.override", "entitlement.reset", "entitlement.follow", "grant.create",
    "rule.create", "rule.update",
}  # fmt: skip

# Kept and shown, and otherwise without meaning: by kind of definition, the first part of the member's path.
SHOWN = {
    "meter": {"name", "description", "metadata"},
    "customer": {"name", "description", "primaryEmail", "currency", "billingAddress", "metadata"},
    "subject": {"key", "displayName", "metadata", "stripeCustomerId"},
    "feature": {"name", "metadata", "unitCost"},  # unitCost: no cost is computed yet
    "endpoint": {"name", "metadata"},
    "key": {"name"},
    "app": {"name", "description", "metadata"},
    "customer-app": {"stripeDefaultPaymentMethodId"},
    "stripe-meter": {"metadata"},
    "billing-profile": {"name", "description", "metadata", "supplier"},
}


def decided(kind: str, body: Body) -> Decision:
    """The decision about a command on a fresh log, after what the case needs before it."""
    log, case = Log(), CASES[kind]
    replies = [log.do(before, sent) for before, sent in case.before]
    if kind == "portal-token.invalidate" and body.get("id") == "":
        body = {**body, "id": replies[0]["id"]}
    added = case.added(replies)
    if kind == "app.update" and body.get("type") == "custom_invoicing":
        added = {"id": replies[1]["app"]["id"]}
    return log.run(log.command(kind, {**body, **added}))


def effect(decision: Decision) -> object:
    """All that stages, API and browsers make of a decision, apart from what is only shown."""
    return [*map(_seen, decision.definitions), *decision.sends]


def shown(decision: Decision) -> object:
    """The definitions as they are shown."""
    return [definition.body for definition in decision.definitions]


def _seen(definition: Definition) -> object:
    body: Mapping[str, Any] = definition.body or {}
    if definition.kind == "meter":
        meter = Meter.of(definition)
        return None if meter is None else msgspec.structs.replace(meter, name="", description="", metadata={})
    if definition.kind == "key":
        key = ApiKey.of(definition)
        return None if key is None else msgspec.structs.replace(key, name="")
    if definition.kind == "endpoint":
        endpoints = Endpoints(Seal())
        endpoints.update(Changes({"": definition}))
        found_one = endpoints.get(definition.namespace, definition.name)
        keys = [] if found_one is None else [*found_one.keys(AT_MS // 1000), found_one.previous_until_s]
        return found_one, [getattr(one, "private", one) for one in keys]
    if definition.kind == "customer":
        customer = Customer.of(definition)
        return None if customer is None else customer.subjects
    if definition.kind == ATTRIBUTION:
        attribution = Attribution.of(definition)
        return definition.name, None if attribution is None else attribution.holders
    if definition.kind == "feature":
        members = ("key", "meterSlug", "meterGroupByFilters", "advancedMeterGroupByFilters")
        return {name: body[name] for name in members if name in body}
    return {name: value for name, value in body.items() if name not in SHOWN.get(definition.kind, ())}
