"""Members that only the server writes: taken back as they were read or as null, refused with another value."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.errors import Rejected
from tests.core.inputs import CUSTOMER, ENDPOINT, FEATURE, KEY, METER, SUBJECT
from tests.fixtures.control_log import AT_MS, Log

Body = dict[str, Any]
ENTITLEMENT = {
    "type": "metered",
    "featureKey": "f",
    "customerId": "acme",
    "usagePeriod": {"interval": "MONTH"},
    "issueAfterReset": 5,
}
WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt")


def log() -> tuple[Log, Body]:
    """A log with one of each, and what answers show of each."""
    made = Log()
    read: Body = {"meter": made.do("meter.create", METER)["meters"][0]}
    read["customer"] = made.do("customer.create", CUSTOMER)
    read["subject"] = made.do("subject.upsert", SUBJECT)["subjects"][0]
    read["feature"] = made.do("feature.create", FEATURE)
    read["endpoint"] = made.do("endpoint.create", ENDPOINT)
    read["rule"] = made.do("rule.create", rule(read["endpoint"]["id"]))
    entitlement = Entitlement.read(made.do("entitlement.create", ENTITLEMENT))
    read["entitlement"] = entitlement_json(entitlement, AT_MS // 1000, Customer.read(read["customer"]))
    return made, read


def rule(channel: str) -> Body:
    thresholds = [{"type": "usage_value", "value": 1}]
    return {
        "type": "entitlements.balance.threshold",
        "name": "r",
        "channels": [channel],
        "thresholds": thresholds,
    }


def change(kind: str, read: Body, sent: Body) -> tuple[str, Body]:
    """A command that replaces the definition which was read, and sends `sent` of what the server writes."""
    shown = read[kind]
    if kind == "entitlement":
        return "entitlement.override", {"id": shown["id"], "entitlement": {**ENTITLEMENT, **sent}}
    if kind == "meter":
        return "meter.apply", {**METER, "name": "N", **sent}
    if kind == "subject":
        return "subject.upsert", {**SUBJECT, "displayName": "N", **sent}
    bodies = {"customer": CUSTOMER, "endpoint": ENDPOINT, "rule": rule(read["endpoint"]["id"])}
    return f"{kind}.update", {**bodies[kind], "name": "N", **sent, "id": shown["id"]}


KINDS = ("meter", "customer", "subject", "endpoint", "rule", "entitlement")


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_is_taken_back(kind: str) -> None:
    made, read = log()
    written = {name: read[kind].get(name) for name in WRITTEN}
    if kind == "entitlement":
        written |= {
            name: read[kind][name]
            for name in ("subjectKey", "customerKey", "currentUsagePeriod", "lastReset")
        }
    command, body = change(kind, read, written)
    made.do(command, body, at_ms=AT_MS + 60_000)


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_taken(kind: str) -> None:
    made, read = log()
    command, body = change(kind, read, dict.fromkeys(WRITTEN))
    made.do(command, body, at_ms=AT_MS + 60_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("member", WRITTEN)
def test_another_value_is_refused_with_one_sentence(kind: str, member: str) -> None:
    made, read = log()
    command, body = change(kind, read, {member: "2001-01-01T00:00:00Z"})
    if command.endswith(".update") and member == "id":
        return  # it names the definition
    sentence = f"{kind} {member} is written by the server: leave it out, or send it back as it is"
    assert made.refused(command, body, at_ms=AT_MS + 60_000) == (f"bad-{kind}", sentence)


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("meter.create", {**METER, "slug": "other"}),
        ("meter.apply", {**METER, "slug": "other"}),
        ("customer.create", {"name": "Other"}),
        ("subject.upsert", {"key": "other"}),
        ("feature.create", {"key": "other", "name": "Other"}),
        ("endpoint.create", ENDPOINT),
        ("entitlement.create", {**ENTITLEMENT, "activeFrom": "2030-01-01T00:00:00Z"}),
        ("grant.create", {"entitlementId": "f", "customerId": "acme", "amount": 1}),
        ("portal-token.create", {"subject": "s"}),
        ("key.create", {**KEY, "id": "A" * 8, "hash": "0" * 64, "last4": "AAAA"}),
    ],
)
def test_a_new_one_has_no_such_member_yet(command: str, body: Body) -> None:
    made, read = log()
    if command == "entitlement.create":
        made.do("entitlement.delete", {"id": read["entitlement"]["id"]})
    kind = command.partition(".")[0]
    assert made.refused(command, {**body, "createdAt": read["customer"]["createdAt"]}) == (
        f"bad-{kind}",
        f"{kind} createdAt is written by the server: leave it out, or send it back as it is",
    )
    made.do(command, {**body, "createdAt": None})


def test_what_is_neither_read_nor_written_is_refused() -> None:
    with pytest.raises(Rejected, match="thing has an unknown member 'zz': it may have a"):
        BodyReader("thing", {"zz": None}, ("a",), ("id",))
