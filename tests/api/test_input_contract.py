"""Every member of every body that OpenAPI shows acts or is refused: generated from the document itself.

A member that is added to a body needs a body in a table that has it, and has to change what is decided. Query
parameters and the bodies of questions are tried on the served API (tests/api/test_recorded.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.core.control import Decision
from pipeline.core.metering.http_batch import read
from pipeline.errors import Rejected
from tests.api.openapi import OPERATIONS, resolved
from tests.api.recording.metering import EVENT
from tests.core.inputs import CASES, CUSTOMER, FEATURE, METER, Body, Case, decided, effect, shown
from tests.core.test_inputs import REMOVED, changed, others
from tests.fixtures.control_log import Log

Path = tuple[str | int, ...]
EVENTS = "POST /api/v1/events"
RETRY = "POST /api/v1/billing/stripe/retry"
# Of the last two see tests/core/billing/test_stripe_session.py. Items of an import are bodies of other operations.
OF_QUESTIONS = {
    "POST /api/v1/imports",
    "POST /api/v1/entitlements/check", "POST /api/v1/meters/{idOrSlug}/query", RETRY, EVENTS,
    "POST /api/v1/billing/replay", "POST /api/v1/stripe/checkout/sessions",
    "POST /api/v1/customers/{customerIdOrKey}/stripe/portal",
}  # fmt: skip
# See tests/api/subscriptions/test_members.py.
OF_SUBSCRIPTIONS = {
    operation for operation, described in OPERATIONS.items()
    if "requestBody" in described and operation.split()[1].startswith("/api/v1/subscriptions")
}  # fmt: skip
# See tests/api/invoices/test_members.py.
OF_INVOICES = {
    operation for operation, described in OPERATIONS.items()
    if "requestBody" in described and any(part in operation for part in ("invoices", "/apps/custom-invoicing/"))
}  # fmt: skip
# See tests/api/credits/test_members.py.
OF_CREDITS = {
    operation for operation, described in OPERATIONS.items() if "requestBody" in described and "/credits/" in operation
}  # fmt: skip
# The route decides them, see tests/api/billing/test_apps.py.
OF_ROUTES = {
    ("POST /api/v1/marketplace/listings/stripe/install/apikey", ("createBillingProfile",)),
    ("PUT /api/v1/customers/{customerIdOrKey}/apps", ("id",)),
}
# No meter and no stage reads it: CloudEvents lets a producer send it.
WITHOUT_EFFECT = {(EVENTS, ("dataschema",)), (EVENTS, ("datacontenttype",))}
_V1, _ONE = "/api/v1", "/{entitlementIdOrFeatureKey}"
_HOLDERS = (
    "/api/v1/customers/{customerIdOrKey}/entitlements",
    "/api/v2/customers/{customerIdOrKey}/entitlements",
    "/api/v1/subjects/{subjectIdOrKey}/entitlements",
)
KINDS = {
    f"POST {_V1}/meters": "meter.create",
    f"POST {_V1}/meters/apply": "meter.apply",
    f"PUT {_V1}/meters/{{meterIdOrSlug}}": "meter.update",
    f"POST {_V1}/customers": "customer.create",
    f"PUT {_V1}/customers/{{customerIdOrKey}}": "customer.update",
    f"POST {_V1}/subjects": "subject.upsert",
    f"POST {_V1}/features": "feature.create",
    f"POST {_V1}/plans": "plan.create",
    f"PUT {_V1}/plans/{{planId}}": "plan.update",
    f"POST {_V1}/plans/{{planId}}/addons": "plan-addon.create",
    f"PUT {_V1}/plans/{{planId}}/addons/{{planAddonId}}": "plan-addon.update",
    f"POST {_V1}/addons": "addon.create",
    f"PUT {_V1}/addons/{{addonId}}": "addon.update",
    f"POST {_V1}/keys": "key.create",
    f"POST {_V1}/keys/{{keyId}}/rotate": "key.rotate",
    f"POST {_V1}/portal/tokens": "portal-token.create",
    f"POST {_V1}/portal/tokens/invalidate": "portal-token.invalidate",
    f"POST {_V1}/marketplace/listings/stripe/install/apikey": "app.install",
    f"POST {_V1}/marketplace/listings/{{listingType}}/install": "app.add",
    f"POST {_V1}/billing/profiles": "billing-profile.create",
    f"PUT {_V1}/billing/profiles/{{profileId}}": "billing-profile.update",
    f"PUT {_V1}/billing/customers/{{customerIdOrKey}}": "billing-override.upsert",
    f"PUT {_V1}/apps/{{appId}}": "app.update",
    f"PUT {_V1}/apps/{{appId}}/stripe/api-key": "app.rotate",
    f"PUT {_V1}/customers/{{customerIdOrKey}}/apps": "customer-app.upsert",
    f"PUT {_V1}/customers/{{customerIdOrKey}}/stripe": "customer-app.upsert",
    f"POST {_V1}/billing/stripe/meters": "stripe-meter.create",
    f"PUT {_V1}/billing/stripe/meters/{{mappingId}}": "stripe-meter.update",
    f"POST {_V1}/notification/channels": "endpoint.create",
    f"PUT {_V1}/notification/channels/{{channelId}}": "endpoint.update",
    f"POST {_V1}/endpoints/{{channelId}}/rotate": "endpoint.rotate",
    f"POST {_V1}/endpoints/{{channelId}}/replay": "endpoint.replay",
    f"POST {_V1}/notification/events/{{eventId}}/resend": "event.resend",
    f"POST {_V1}/notification/rules": "rule.create",
    f"PUT {_V1}/notification/rules/{{ruleId}}": "rule.create",
    **{f"POST {holder}": "entitlement.create" for holder in _HOLDERS},
    **{f"PUT {holder}{_ONE}/override": "entitlement.create" for holder in _HOLDERS},
    **{f"POST {holder}{_ONE}/reset": "entitlement.reset" for holder in _HOLDERS},
    **{f"POST {holder}{_ONE}/grants": "grant.create" for holder in _HOLDERS},
}
_PERIOD = {
    "interval": "MONTH",
    "anchor": "2026-01-01T00:00:00Z",
    "timeZone": "Europe/Berlin",
    "intervalISO": "P1M",
}
_GRANT: Body = {
    "amount": 10,
    "priority": 2,
    "effectiveAt": "2026-01-01T00:00:00Z",
    "expiration": {"duration": "MONTH", "count": 2},
    "recurrence": {**_PERIOD, "interval": "WEEK", "intervalISO": "P7D"},
    "minRolloverAmount": 1,
    "maxRolloverAmount": 2,
    "metadata": {"a": "b"},
}
_ENTITLEMENT: Body = {
    "type": "metered",
    "featureKey": "f",
    "customerId": "acme",
    "activeFrom": "2026-01-02T00:00:00Z",
    "activeTo": "2026-03-02T00:00:00Z",
    "metadata": {"a": "b"},
    "usagePeriod": _PERIOD,
    "measureUsageFrom": "CURRENT_PERIOD_START",
    "isSoftLimit": False,
    "isUnlimited": False,
    "issueAfterReset": 5,
    "issueAfterResetPriority": 3,
    "preserveOverageAtReset": True,
    "gracePeriod": "PT1H",
    "grants": [{**_GRANT, "effectiveAt": "2026-01-02T00:00:00Z"}],
}
_ISSUE = {name: value for name, value in _ENTITLEMENT.items() if not name.startswith("issueAfter")}
_BY_SUBJECT: Body = {"type": "static", "featureId": "feature", "subject": "ann", "config": "{}"}
_CATALOG: list[tuple[str, Body]] = [
    ("meter.create", METER),
    ("feature.create", FEATURE),
    ("customer.create", CUSTOMER),
]
_RUNNING = {
    **_ENTITLEMENT,
    "activeFrom": None,
    "activeTo": None,
    "usagePeriod": {**_PERIOD, "anchor": "2025-12-15T00:00:00Z"},
}
_ENTITLED = [*_CATALOG, ("entitlement.create", _RUNNING)]
_NAMED = {"customerId": "acme"}
_CHANNEL = (
    "endpoint.create",
    {"name": "e", "url": "https://example.com/a", "signingSecret": "whsec_" + "A" * 32},
)


def _rule(**members: Any) -> Body:
    return {"name": "r", "channels": ["channel"], "disabled": True, "metadata": {"a": "b"}, **members}


MORE: dict[str, Case] = {
    "entitlement.create": Case(
        [_ENTITLEMENT, {**_ISSUE, "issue": {"amount": 5, "priority": 3}}, _BY_SUBJECT], _CATALOG
    ),
    "entitlement.reset": Case(
        [{"effectiveAt": "2026-01-01T00:00:00Z", "retainAnchor": True, "preserveOverage": False}],
        _ENTITLED, lambda _: {"id": "f", **_NAMED},
    ),
    "grant.create": Case([_GRANT], _ENTITLED, lambda _: {"entitlementId": "f", **_NAMED}),
    "rule.create": Case(
        [
            _rule(type="entitlements.balance.threshold", features=["f"], rearm="resolved",
                  thresholds=[{"type": "usage_value", "value": 5}]),
            _rule(type="entitlements.grant.expiring", before="P7D"),
            _rule(type="meter.volume.threshold", meterSlug="tokens", windowSize="HOUR", limit=5, customers=["acme"],
                  groupBy={"model": "a"}),
            _rule(type="invoice.overdue"),
            _rule(type="credit.low_balance", currency="EUR", threshold=5, customers=["acme"]),
        ],
        [*_CATALOG, _CHANNEL],
    ),
}  # fmt: skip
SHOWN_MEMBERS = {"stripeDefaultPaymentMethodId",
                 "name", "description", "metadata", "displayName", "stripeCustomerId", "primaryEmail", "currency",
                 "billingAddress", "unitCost", "key", "supplier"}  # fmt: skip


def members(schema: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    """The members of a body that a client may write, at every level; those of free names end there."""
    found = resolved(schema)
    if found.get("readOnly"):
        return
    if path and not isinstance(path[-1], int):
        yield path
    for form in (*found.get("anyOf", ()), *found.get("oneOf", ())):
        yield from (inner for inner in members(form, path) if inner != path)
    for name, member in found.get("properties", {}).items():
        yield from members(member, (*path, name))
    if "items" in found:
        yield from members(found["items"], (*path, 0))


def shown_bodies() -> Iterator[tuple[str, Path]]:
    for operation, described in OPERATIONS.items():
        for media in described.get("requestBody", {}).get("content", {}).values():
            for path in dict.fromkeys(members(media["schema"])):
                yield operation, path[1:] if path[0] == 0 else path


MEMBERS = list(dict.fromkeys(shown_bodies()))


def decision(kind: str, body: Body) -> Decision:
    if kind in CASES:
        return decided(kind, body)
    log, case = Log(), MORE[kind]
    replies = [log.do(before, sent) for before, sent in case.before]
    if body.get("channels") == ["channel"]:
        body = {**body, "channels": [replies[-1]["id"]]}
    if body.get("featureId") == "feature":
        body = {**body, "featureId": replies[1]["id"]}
    return log.run(log.command(kind, {**body, **case.added(replies)}))


def at(body: Any, path: Path) -> Any:
    """The value at a path; REMOVED where there is none."""
    for step in path:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return REMOVED
    return body


def acts(kind: str, body: Body, path: Path) -> bool:
    """Whether a member without its value, or with another one, is refused or changes what is decided."""
    base = decision(kind, body)
    assert not base.reply.error, (kind, base.reply)
    seen = shown if path[0] in SHOWN_MEMBERS else effect
    for value in (REMOVED, *others(at(body, path))):
        other = decision(kind, changed(body, path, value))
        if other.reply.error or seen(other) != seen(base):
            return True
    return False


def test_every_body_is_in_the_table() -> None:
    with_body = {operation for operation, described in OPERATIONS.items() if "requestBody" in described}
    assert with_body == set(KINDS) | OF_QUESTIONS | OF_SUBSCRIPTIONS | OF_INVOICES | OF_CREDITS
    assert len(MEMBERS) > 250


@pytest.mark.parametrize("operation", KINDS)
def test_every_member_acts_or_is_refused(operation: str) -> None:
    kind, wrong = KINDS[operation], []
    for of, path in MEMBERS:
        if of == operation and (of, path) not in OF_ROUTES:
            bodies = [
                body for body in (CASES.get(kind) or MORE[kind]).bodies if at(body, path) is not REMOVED
            ]
            if not bodies:
                wrong.append(f"{path}: no body of {kind} in the table has it, add one")
            elif not any(acts(kind, body, path) for body in bodies):
                wrong.append(f"{path} is accepted and changes nothing")
    assert wrong == []


@pytest.mark.parametrize("path", [path for operation, path in MEMBERS if operation == EVENTS], ids=str)
def test_every_attribute_of_an_event_acts_or_is_refused(path: Path) -> None:
    body = {**EVENT, "datacontenttype": "application/json", "dataschema": "https://example.com/schema"}

    def packed(value: object) -> object:
        try:
            return read(
                "application/cloudevents+json", (), json.dumps(changed(body, path, value)).encode(), 65_536
            ).packed
        except Rejected as refusal:
            return refusal.reason

    base = packed(at(body, path))
    found = [packed(value) != base for value in (REMOVED, *others(at(body, path)))]
    assert any(found) or (EVENTS, path) in WITHOUT_EFFECT
