"""Every command with odd values at every place of its body: decided or refused, never a crash of the control stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import control
from pipeline.core.control import DECIDERS
from pipeline.core.definitions import audit
from pipeline.core.values.json_value import reader_of
from pipeline.records import Audit, Command, Definition, Reply
from tests.fixtures.billing_bodies import PLAIN, PROFILE, of_app
from tests.fixtures.catalog_bodies import (
    ADDON,
    ASSIGNED,
    FULL_ADDON,
    FULL_PLAN,
    OTHER_CARDS,
    PLAN,
    with_card,
    without_key,
)
from tests.fixtures.control_log import AT, AT_MS, Log

DEEP: Any = 1
for _ in range(60):
    DEEP = {"a": [DEEP]}
VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e300, 5e-324, 2**63, 2**64 - 1, -(2**63), "", "x", "é\n", "\0", "a" * 10_000,
    "9" * 5_000, "1e999999999", "NaN", "-0", "0.1", AT, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z",
    "2024-02-30",
    "P1M", "P999999Y", "MONTH", "__proto__", [], [None], [[]], [1, 1], ["x"] * 200, {}, {"": 1}, {"x": None},
    {"$eq": "x"}, {"interval": "MONTH"}, {"a": "b"}, [{"a": "b"}], DEEP,
]  # fmt: skip
METER = {
    "slug": "calls", "eventType": "x", "aggregation": "SUM", "valueProperty": "$.n", "groupBy": {"model": "$.model"},
    "eventFrom": AT, "name": "n", "description": "d", "metadata": {"a": "b"},
}  # fmt: skip
ENTITLEMENT = {
    "customerId": "acme", "featureKey": "calls", "type": "metered", "usagePeriod": {"interval": "MONTH", "anchor": AT},
    "issueAfterReset": 5, "issueAfterResetPriority": 1, "isSoftLimit": True, "measureUsageFrom": AT, "activeFrom": AT,
    "activeTo": "2027-01-01T00:00:00Z", "metadata": {"a": "b"}, "preserveOverageAtReset": True, "gracePeriod": "P1D",
    "grants": [{"amount": 5}],
}  # fmt: skip
FOLLOWED = {
    "subscriptionId": "01KEKZR000QPSTAZZXM3YB71SX", "customerId": "acme", "featureId": "x", "featureKey": "calls",
    "type": "metered", "activeFrom": AT, "usagePeriod": {"interval": "P1M", "anchor": AT, "timeZone": "UTC"},
    "measureUsageFrom": AT, "isSoftLimit": True, "issueAfterReset": "10", "issueAfterResetPriority": 2,
    "preserveOverageAtReset": True, "metadata": {"a": "b"},
}  # fmt: skip
GRANT = {
    "entitlementId": "calls", "customerId": "acme", "amount": 5, "priority": 1, "effectiveAt": AT,
    "expiration": {"duration": "MONTH", "count": 1}, "recurrence": {"interval": "DAY", "anchor": AT},
    "minRolloverAmount": 0, "maxRolloverAmount": 5, "metadata": {"a": "b"},
}  # fmt: skip
BALANCE = {
    "type": "entitlements.balance.threshold", "name": "n", "thresholds": [{"type": "usage_percentage", "value": 80}],
    "features": ["calls"], "rearm": "period", "disabled": False, "metadata": {"a": "b"},
}  # fmt: skip
VOLUME = {
    "type": "meter.volume.threshold", "name": "n", "meterSlug": "calls", "windowSize": "DAY", "limit": 5,
    "customers": ["acme"], "groupBy": {"model": "x"},
}  # fmt: skip
EXPIRING = {"type": "entitlements.grant.expiring", "name": "n", "before": "P1D"}
INVOICE = {"type": "invoice.created", "name": "n"}
ENDPOINT = {
    "name": "n", "url": "https://example.com/", "signingSecret": "whsec_" + "A" * 32, "customHeaders": {"x-a": "b"},
    "disabled": False, "metadata": {"a": "b"},
}  # fmt: skip
KEY = {"id": "A" * 8, "hash": "a" * 64, "last4": "AAAA", "name": "n", "scopes": ["query"]}
CUSTOMER = {
    "key": "new", "name": "n", "description": "d", "usageAttribution": {"subjectKeys": ["bob"]}, "primaryEmail": "a@b",
    "currency": "EUR", "billingAddress": {"country": "DE", "city": "x"}, "metadata": {"a": "b"},
}  # fmt: skip
FEATURE = {
    "key": "new", "name": "n", "meterSlug": "calls", "meterGroupByFilters": {"model": "x"}, "metadata": {"a": "b"},
    "advancedMeterGroupByFilters": {"model": {"$in": ["x"]}}, "unitCost": {"type": "manual", "amount": "1"},
}  # fmt: skip
SEALED = "sealed:v1:01234567:AAAA"
KEY_FACTS = {"stripeAccountId": "acct_1", "livemode": False, "maskedApiKey": "sk_test_***abc"}
STRIPE_METER = {
    "meterSlug": "calls", "eventName": "calls", "window": "DAY", "multiplier": 0.5, "dimensions": {"model": "llm"},
    "from": "2026-02-01T00:00:00Z", "metadata": {"a": "b"}, "customerKey": "c", "valueKey": "v",
    "checked": {"stripeMeterId": "mtr_1", "customerKey": "c", "valueKey": "v", "formula": "sum", "active": True},
}  # fmt: skip


def full() -> tuple[Log, dict[str, list[dict[str, Any]]]]:
    """A log with one thing of each kind, and good bodies of each command about them."""
    log = Log()
    log.do("meter.create", {"meters": [METER]})
    log.do("customer.create", {"key": "acme", "name": "n", "usageAttribution": {"subjectKeys": ["ann"]}})
    log.do("subject.upsert", {"subjects": [{"key": "ann"}]})
    log.do("feature.create", {"key": "calls", "name": "n", "meterSlug": "calls"})
    log.do("entitlement.create", {"customerId": "acme", "featureKey": "calls", "type": "metered",
                                  "usagePeriod": {"interval": "MONTH"}})  # fmt: skip
    endpoint = log.do("endpoint.create", ENDPOINT)["id"]
    rule = log.do("rule.create", {**BALANCE, "channels": [endpoint]})["id"]
    grant = log.do(
        "grant.create", {"entitlementId": "calls", "customerId": "acme", "amount": 1, "effectiveAt": AT}
    )["id"]
    token = log.do("portal-token.create", {"subject": "ann"})["id"]
    log.do("key.create", {**KEY, "id": "B" * 8})
    of = {"id": "calls", "customerId": "acme"}
    return log, {
        "meter.apply": [{"meters": [METER]}, METER],
        "meter.create": [{"meters": [{**METER, "slug": "more"}]}],
        "meter.update": [
            {"slug": "calls", "name": "m", "groupBy": {"model": "$.model"}, "metadata": {"a": "b"}}
        ],
        "meter.delete": [{"slug": "calls"}],
        "customer.create": [CUSTOMER],
        "customer.update": [{**CUSTOMER, "id": "acme"}],
        "customer.delete": [{"id": "acme"}],
        "subject.upsert": [{"subjects": [{"key": "bob", "displayName": "b", "metadata": {"a": "b"}}]}],
        "subject.delete": [{"id": "ann"}],
        "feature.create": [FEATURE],
        "feature.archive": [{"id": "calls"}],
        **of_catalog(log),
        "key.create": [{**KEY, "expiresAt": "2027-01-01T00:00:00Z"}],
        "key.rotate": [{"id": "B" * 8, "newId": "C" * 8, "hash": "a" * 64, "last4": "AAAA", "overlapS": 5}],
        "key.revoke": [{"id": "B" * 8}],
        "portal-token.create": [{"subject": "ann", "allowedMeterSlugs": ["calls"]}],
        "portal-token.invalidate": [{"id": token}, {"subject": "ann"}],
        "entitlement.create": [
            {**ENTITLEMENT, "featureKey": "other"},
            {"customerId": "acme", "featureKey": "calls", "type": "static", "config": '{"a":1}'},
        ],
        "entitlement.override": [{**of, "entitlement": ENTITLEMENT}],
        "entitlement.reset": [{**of, "effectiveAt": AT, "retainAnchor": True, "preserveOverage": True}],
        "entitlement.delete": [of],
        "entitlement.follow": [{"id": "01KEKZR000QPSTAZZXM3YB71S1", "terms": FOLLOWED, "activeTo": AT}],
        "grant.create": [GRANT],
        "grant.void": [{"id": grant, "at": AT}],
        "rule.create": [{**one, "channels": [endpoint]} for one in (BALANCE, VOLUME, EXPIRING, INVOICE)],
        "rule.update": [{**BALANCE, "id": rule, "channels": [endpoint]}],
        "rule.delete": [{"id": rule}],
        "endpoint.create": [ENDPOINT],
        "endpoint.update": [{**ENDPOINT, "id": endpoint}],
        "endpoint.rotate": [{"id": endpoint, "signingSecret": "whsec_" + "B" * 32, "overlapS": 5}],
        "endpoint.disable": [{"id": endpoint, "reason": "r"}],
        "endpoint.delete": [{"id": endpoint}],
        "endpoint.replay": [{"id": endpoint, "from": AT, "to": "2026-01-02T00:00:00Z", "states": ["FAILED"]}],
        "rule.test": [{"id": rule}],
        "event.resend": [{"id": "x", "endpoints": [endpoint], "channels": [endpoint]}],
        "delivery.resend": [{"id": "x", "endpoint": endpoint}],
        **of_billing(log),
    }


def of_billing(log: Log) -> dict[str, list[dict[str, Any]]]:
    """An app, a customer's id in it and a mapping on the log, and good bodies of each command about them."""
    app = log.do("app.install", {"apiKey": SEALED, "checked": KEY_FACTS})["id"]
    of_app = {"customerId": "acme", "appId": app}
    log.do("customer-app.upsert", {**of_app, "stripeCustomerId": "cus_1"})
    mapping = log.do("stripe-meter.create", {**STRIPE_METER, "appId": app})["id"]
    return {
        "app.install": [
            {
                "apiKey": SEALED,
                "name": "n",
                "webhookSecret": SEALED,
                "checked": {**KEY_FACTS, "stripeAccountId": "acct_2"},
            }
        ],
        "app.update": [
            {
                "id": app,
                "name": "n",
                "description": "d",
                "metadata": {"a": "b"},
                "secretAPIKey": SEALED,
                "webhookSecret": SEALED,
                "checked": KEY_FACTS,
            }
        ],
        "app.rotate": [{"id": app, "secretAPIKey": SEALED, "checked": KEY_FACTS}],
        "app.webhook": [{"id": app, "webhookSecret": SEALED, "stripeDestinationId": "ed_1"}],
        "app.unauthorized": [{"id": app, "reason": "r", "revision": 1}],
        "app.uninstall": [{"id": app}],
        "customer-app.upsert": [
            {**of_app, "stripeCustomerId": "cus_1", "stripeDefaultPaymentMethodId": "pm_1"}
        ],
        "customer-app.delete": [of_app],
        "stripe-meter.create": [{**STRIPE_METER, "appId": app, "eventName": "more"}],
        "stripe-meter.update": [{**STRIPE_METER, "id": mapping, "eventName": "more"}],
        "stripe-meter.delete": [{"id": mapping}],
        "stripe.retry": [{"customer": "acme", "meter": "calls", "accept": "stripe"}],
        **of_profiles(log),
    }


def of_catalog(log: Log) -> dict[str, list[dict[str, Any]]]:
    """As `full`, of plans and add-ons."""
    log.do("feature.create", {"key": "tokens", "name": "n", "meterSlug": "calls"})
    log.do("plan.create", PLAN)
    for key in ("more", "others"):
        log.do("addon.create", {**ADDON, "key": key})
    log.do("plan-addon.create", {"planId": "pro", "addonId": "more", **ASSIGNED})
    return {
        "plan.create": [{**FULL_PLAN, "key": "new"}, {**with_card(OTHER_CARDS[4]), "key": "new"}],
        "plan.update": [{**without_key(FULL_PLAN), "id": "pro"}],
        "plan.publish": [{"id": "pro"}],
        "plan.archive": [{"id": "pro"}],
        "plan.delete": [{"id": "pro"}],
        "plan.next": [{"id": "pro"}],
        "addon.create": [{**FULL_ADDON, "key": "new"}],
        "addon.update": [{**without_key(FULL_ADDON), "id": "more"}],
        "addon.publish": [{"id": "more"}],
        "addon.archive": [{"id": "more"}],
        "addon.delete": [{"id": "more"}],
        "plan-addon.create": [{"planId": "pro", "addonId": "others", **ASSIGNED}],
        "plan-addon.update": [{"planId": "pro", "id": "more", **ASSIGNED}],
        "plan-addon.delete": [{"planId": "pro", "id": "more"}],
    }


def of_profiles(log: Log) -> dict[str, list[dict[str, Any]]]:
    """Good bodies of each command about billing profiles, overrides and apps that need no key."""
    custom = log.do("app.add", {"type": "custom_invoicing", "createBillingProfile": False})["app"]["id"]
    apps = of_app(custom)
    profile = log.do("billing-profile.create", {**PLAIN, "apps": apps})["id"]
    log.do("billing-override.upsert", {"customerId": "acme", "billingProfileId": profile})
    return {
        "app.add": [{"type": "custom_invoicing", "name": "n", "createBillingProfile": True}],
        "billing-profile.create": [{**PROFILE, "apps": apps}],
        "billing-profile.update": [{**PROFILE, "id": profile}],
        "billing-profile.delete": [{"id": profile}],
        "billing-override.upsert": [{"customerId": "acme", "billingProfileId": profile}],
        "billing-override.delete": [{"customerId": "acme"}],
    }


def bent(body: Any, value: Any) -> Iterator[Any]:
    """The body with `value` at each place in turn, and beside each member."""
    yield value
    if isinstance(body, dict):
        for name, inner in body.items():
            for other in bent(inner, value):
                yield {**body, name: other}
        yield {**body, "x": value}
    elif isinstance(body, list) and body:
        for other in bent(body[0], value):
            yield [other, *body[1:]]


def decide(log: Log, kind: str, body: dict[str, Any]) -> None:
    """Decides as the stage does: what is sent and kept reads back as it was written."""
    sent = msgspec.json.encode(Command("c", kind, "default", "ann", 1, body))
    command = reader_of(Command)(sent)
    found = control.decide(log.catalog, command, AT_MS)
    entry = audit.following(audit.EMPTY, command, AT_MS, found.reply, found.before, found.definitions)
    for record, shape in (
        (found.reply, Reply),
        *((one, Definition) for one in found.definitions),
        (entry, Audit),
    ):
        again: Any = reader_of(shape)(msgspec.json.encode(record))
        assert msgspec.json.encode(again) == msgspec.json.encode(record)
    assert len(found.reply.detail) < 2_000


def test_every_command_is_tried() -> None:
    assert full()[1].keys() == DECIDERS.keys()


@pytest.mark.parametrize("kind", DECIDERS)
def test_no_value_at_any_place_crashes(kind: str) -> None:
    log, bodies = full()
    tried = 0
    for good in bodies[kind]:
        for value in VALUES:
            for body in bent(good, value):
                if isinstance(body, dict):
                    tried += 1
                    decide(log, kind, body)
    print(f"{kind}: {tried} bodies")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ODD = st.sampled_from([one for one in VALUES if isinstance(one, str)])
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
LOG, BODIES = full()


@given(st.data(), st.sampled_from(sorted(DECIDERS)))
def test_no_members_crash(data: st.DataObject, kind: str) -> None:
    good = data.draw(st.sampled_from(BODIES[kind]))
    members = data.draw(st.dictionaries(st.sampled_from(sorted(good)), JSON))
    decide(LOG, kind, {**good, **members})
