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
from pipeline.core.control import Decision
from pipeline.core.customers.attribution import Attribution
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.kinds import ATTRIBUTION
from pipeline.core.metering.meter import Meter
from pipeline.core.values.sealed import Seal
from pipeline.records import Definition
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
}  # fmt: skip

# Their clients send no body, or it is tested with its typed form (test_entitlement, test_grant, test_rule).
WITHOUT_BODY = {
    "meter.delete", "customer.delete", "subject.delete", "feature.archive", "endpoint.delete", "endpoint.disable",
    "rule.delete", "rule.test", "delivery.resend", "entitlement.delete", "grant.void",
}  # fmt: skip
ELSEWHERE = {
    "entitlement.create", "entitlement.override", "entitlement.reset", "grant.create", "rule.create", "rule.update",
}  # fmt: skip

# Kept and shown, and otherwise without meaning: by kind of definition, the first part of the member's path.
SHOWN = {
    "meter": {"name", "description", "metadata"},
    "customer": {"name", "description", "primaryEmail", "currency", "billingAddress", "metadata"},
    "subject": {"key", "displayName", "metadata", "stripeCustomerId"},
    "feature": {"name", "metadata", "unitCost"},  # unitCost: no cost is computed yet
    "endpoint": {"name", "metadata"},
    "key": {"name"},
}


def decided(kind: str, body: Body) -> Decision:
    """The decision about a command on a fresh log, after what the case needs before it."""
    log, case = Log(), CASES[kind]
    replies = [log.do(before, sent) for before, sent in case.before]
    if kind == "portal-token.invalidate" and body.get("id") == "":
        body = {**body, "id": replies[0]["id"]}
    return log.run(log.command(kind, {**body, **case.added(replies)}))


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
