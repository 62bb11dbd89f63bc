"""Commands of every kind that changes a definition, with every member: what they write is kept in stored_bodies.jsonl.

Ids come from the commands' ids and their instants, so each run makes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pipeline.core.control import Decision
from tests.fixtures import catalog_bodies
from tests.fixtures.billing_bodies import PLAIN, PROFILE, of_app
from tests.fixtures.control_log import AT_MS, Log

PATH = Path(__file__).with_name("stored_bodies.jsonl")
HOUR_MS = 3_600_000
SECRET = "whsec_" + "A" * 32
SEALED = "sealed:v1:01234567:AAAA"
METER = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens", "name": "Tokens",
    "description": "two\nlines", "groupBy": {"type": "$.type", "model": "$.model", "host": "$.host"},
    "eventFrom": "2025-12-31T23:00:00+01:00", "metadata": {"b": "2", "a": "1"},
}  # fmt: skip
CUSTOMER = {
    "metadata": {"crm": "7"}, "timeZone": "Europe/Berlin", "name": "Acme", "key": "acme", "description": "a\nb",
    "usageAttribution": {"subjectKeys": ["web", "app"]}, "primaryEmail": "a@example.com", "currency": "EUR",
    "billingAddress": {"city": "Berlin", "country": "DE", "line1": "Street 1"},
}  # fmt: skip
KEY = {"name": "ci", "scopes": ["keys:write", "ingest"], "hash": "ab" * 32, "last4": "wxyz"}
METERED = {
    "type": "metered", "featureKey": "gpt", "usagePeriod": {"interval": "MONTH", "anchor": "2025-12-15T01:00:00+01:00"},
    "metadata": {"plan": "pro"}, "isSoftLimit": True, "issueAfterReset": 100.5, "issueAfterResetPriority": 4,
    "preserveOverageAtReset": True, "measureUsageFrom": "CURRENT_PERIOD_START",
    "grants": [{"amount": 10, "expiration": {"duration": "MONTH", "count": 2}, "metadata": {"why": "gift"}}],
}  # fmt: skip
GRANT = {
    "amount": "50.25", "priority": 2, "effectiveAt": "2026-01-02T10:00:59+02:00", "maxRolloverAmount": 20,
    "minRolloverAmount": "5", "recurrence": {"interval": "WEEK", "anchor": "2026-01-01T00:00:00Z"},
    "expiration": {"duration": "YEAR", "count": 1}, "metadata": {"order": "9"},
}  # fmt: skip

Story = Callable[[str, dict[str, Any]], Any]


def decisions(before: Callable[[Log, str, dict[str, Any]], None] | None = None) -> list[tuple[str, Decision]]:
    """Each command's kind and what was decided; every one is done, and none repeats.

    before: called with the log and with each command before it is done.
    """
    log, made = Log(), list[tuple[str, Decision]]()

    def do(kind: str, body: dict[str, Any]) -> Any:
        if before is not None:
            before(log, kind, body)
        decision = log.run(log.command(kind, body), AT_MS + len(made) * HOUR_MS)
        assert decision.reply.error == "", (kind, decision.reply.detail)
        made.append((kind, decision))
        return decision.reply.body

    _meters(do)
    customer = _customers(do)
    _subjects(do)
    _features(do)
    _access(do)
    channel = _notifications(do, customer)
    _quota(do)
    do("endpoint.delete", {"id": channel})
    do("customer.delete", {"id": customer})
    _billing(do)
    _plans(do)
    _profiles(do)
    _managed(do)
    return made


def written() -> list[str]:
    """What `control` and `replies` get of each command, as JSON text."""
    encode = msgspec.json.encode
    return [
        encode({"kind": kind, "control": decision.definitions, "reply": decision.reply}).decode()
        for kind, decision in decisions()
    ]


def _meters(do: Story) -> None:
    do("meter.apply", {"meters": [METER, {"slug": "calls", "eventType": "call", "aggregation": "COUNT"}]})
    do("meter.update", {"slug": "tokens", "groupBy": {"model": "$.model", "type": "$.type"}, "name": "T"})
    do("meter.apply", {**METER, "name": "Again"})
    do("meter.create", {**METER, "slug": "gone"})
    do("meter.delete", {"slug": "gone"})


def _customers(do: Story) -> str:
    id = str(do("customer.create", CUSTOMER)["id"])
    other = do("customer.create", {"name": "Other", "usageAttribution": {"subjectKeys": []}, "metadata": {}})[
        "id"
    ]
    do("customer.update", {"id": "acme", **CUSTOMER, "usageAttribution": {"subjectKeys": ["app"]}})
    do(
        "customer.update",
        {"id": other, "key": "other", "name": "O", "usageAttribution": {"subjectKeys": ["web"]}},
    )
    return id


def _subjects(do: Story) -> None:
    meta = {"deep": {"list": [1, 2.5, True, None]}}
    do("subject.upsert", {"subjects": [{"key": "web", "metadata": meta, "displayName": "W"}, {"key": "app"}]})
    do("subject.upsert", {"key": "app", "stripeCustomerId": "cus_1", "displayName": "A"})
    do("subject.upsert", {"key": "web", "displayName": None, "stripeCustomerId": "cus_2"})
    do("subject.delete", {"id": "app"})


def _features(do: Story) -> None:
    cost = {"type": "llm", "provider": "openai", "modelProperty": "model", "tokenTypeProperty": "type"}
    do("feature.create", {
        "key": "gpt", "name": "GPT", "meterSlug": "tokens", "metadata": {"a": "1"}, "unitCost": cost,
        "meterGroupByFilters": {"model": "gpt-4"},
    })  # fmt: skip
    do("feature.create", {
        "key": "claude", "name": "C", "meterSlug": "tokens", "unitCost": {"type": "manual", "amount": "0.50"},
        "advancedMeterGroupByFilters": {"model": {"$in": ["a", "b"]}},
    })  # fmt: skip
    do("feature.create", {"key": "sso", "name": "SSO"})
    do("feature.archive", {"id": "claude"})


def _plans(do: Story) -> None:
    do("feature.create", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    plan = do("plan.create", catalog_bodies.FULL_PLAN)
    do("plan.update", {**plan, "name": "Pro plan", "description": None})
    addon = do("addon.create", catalog_bodies.FULL_ADDON)
    do(
        "addon.update",
        {**addon, "instanceType": "multiple", "rateCards": catalog_bodies.ADDON["rateCards"][1:]},
    )
    do("plan-addon.create", {"planId": "pro", "addonId": "more", **catalog_bodies.ASSIGNED})
    do("plan-addon.update", {"planId": "pro", "id": "more", "fromPlanPhase": "trial", "maxQuantity": 2})
    do("addon.publish", {"id": "more"})
    do("plan.publish", {"id": "pro"})
    do("plan.next", {"id": "pro"})
    do("plan.publish", {"id": "pro"})
    for card in catalog_bodies.OTHER_CARDS:
        do("plan.create", {**catalog_bodies.with_card(card), "key": "other"})
        do("plan.delete", {"id": "other"})
    do("plan.archive", {"id": "pro"})
    do("plan-addon.delete", {"planId": plan["id"], "id": "more"})
    do("addon.archive", {"id": "more"})
    do("addon.delete", {"id": addon["id"]})


def _access(do: Story) -> None:
    do("key.create", {"id": "aaaaaaaa", **KEY, "expiresAt": "2027-01-01T00:00:00Z"})
    do("key.create", {"id": "bbbbbbbb", **KEY})
    do(
        "key.rotate",
        {"id": "bbbbbbbb", "newId": "cccccccc", "hash": "cd" * 32, "last4": "4321", "overlapS": 60},
    )
    do("key.rotate", {"id": "aaaaaaaa", "newId": "dddddddd", "hash": "ef" * 32, "last4": "1234"})
    do("key.revoke", {"id": "aaaaaaaa"})
    id = do("portal-token.create", {"subject": "web", "allowedMeterSlugs": ["tokens"]})["id"]
    do("portal-token.invalidate", {"id": id})
    do("portal-token.create", {"subject": "web"})


def _notifications(do: Story, customer: str) -> str:
    endpoint = {"name": "mine", "url": "https://example.com/hook"}
    channel = do("endpoint.create", {
        **endpoint, "signingSecret": SECRET, "customHeaders": {"X-A": "1"}, "metadata": {"a": "1"},
    })["id"]  # fmt: skip
    do("endpoint.rotate", {"id": channel, "signingSecret": SECRET + "BBBB", "overlapS": 60})
    do("endpoint.disable", {"id": channel, "reason": "it answers 410"})
    do("endpoint.update", {"id": channel, **endpoint, "disabled": True, "signingSecret": SECRET})
    do("endpoint.update", {"id": channel, **endpoint, "disabled": False})
    common = {"name": "watch", "channels": [channel], "metadata": {"a": "1"}}
    thresholds = [{"type": "usage_percentage", "value": 80}, {"type": "NUMBER", "value": "2.5"}]
    balance = {"type": "entitlements.balance.threshold", **common, "thresholds": thresholds}
    rules = [
        do("rule.create", {**balance, "features": ["gpt"], "rearm": "resolved", "disabled": True}),
        do("rule.create", {"type": "entitlements.reset", **common}),
        do("rule.create", {"type": "entitlements.grant.expiring", **common, "before": "P1D", "features": ["gpt"]}),
        do("rule.create", {
            "type": "meter.volume.threshold", **common, "meterSlug": "calls", "windowSize": "HOUR", "limit": 5,
            "customers": [customer],
        }),
    ]  # fmt: skip
    do("rule.update", {"id": rules[0]["id"], **balance, "thresholds": thresholds[1:]})
    for rule in rules:
        do("rule.delete", {"id": rule["id"]})
    return str(channel)


def _quota(do: Story) -> None:
    first = do("entitlement.create", {"customerId": "acme", **METERED})["id"]
    do("entitlement.create", {"customerId": "acme", "featureKey": "sso", "type": "boolean"})
    config = {"featureKey": "sso", "type": "static", "config": '{"seats": 5}'}
    do("entitlement.override", {"id": "sso", "customerId": "acme", "entitlement": config})
    do("entitlement.reset", {"id": first, "retainAnchor": True, "preserveOverage": True})
    do("entitlement.reset", {"id": first})
    grant = do("grant.create", {"entitlementId": first, **GRANT, "effectiveAt": "2026-02-02T10:00:59+02:00"})[
        "id"
    ]
    do("grant.create", {"entitlementId": "gpt", "customerId": "acme", "amount": 1})
    do("grant.void", {"id": grant})
    do("entitlement.delete", {"id": first})
    do(
        "entitlement.create",
        {"customerId": "acme", **METERED, "activeFrom": "2026-03-01T00:00:00Z", "issue": None},
    )
    do("entitlement.delete", {"id": "sso", "customerId": "acme"})


def _billing(do: Story) -> None:
    facts = {"stripeAccountId": "acct_1", "livemode": False, "maskedApiKey": "sk_test_***abc"}
    app = do("app.install", {"apiKey": SEALED, "name": "S", "webhookSecret": SEALED, "checked": facts})["id"]
    do("app.unauthorized", {"id": app, "reason": "Invalid API Key"})
    do("app.rotate", {"id": app, "secretAPIKey": SEALED + "B", "checked": facts})
    do("app.update", {
        "id": app, "type": "stripe", "name": "T", "description": "d", "metadata": {"a": "1"},
        "secretAPIKey": SEALED + "C", "webhookSecret": SEALED + "D", "checked": facts,
    })  # fmt: skip
    do("app.webhook", {"id": app, "webhookSecret": SEALED + "E", "stripeDestinationId": "ed_1"})
    customer = {"customerId": "other", "appId": app}
    do("customer-app.upsert", {
        **customer, "stripeCustomerId": "cus_1", "stripeDefaultPaymentMethodId": "pm_1",
    })  # fmt: skip
    do("customer-app.upsert", {**customer, "stripeCustomerId": "cus_2"})
    do("customer-app.delete", customer)
    found = {
        "stripeMeterId": "mtr_1", "customerKey": "stripe_customer_id", "valueKey": "value", "formula": "sum",
        "active": True,
    }  # fmt: skip
    mapping = {
        "appId": app, "meterSlug": "tokens", "eventName": "tokens", "window": "DAY", "multiplier": "0.0010",
        "dimensions": {"type": "type", "model": "llm"}, "from": "2026-01-01T00:00:00Z",
        "customerKey": "stripe_customer_id",
        "valueKey": "value", "metadata": {"a": "1"}, "checked": found,
    }  # fmt: skip
    first = do("stripe-meter.create", mapping)["id"]
    do("stripe-meter.update", {"id": first, "metadata": {"b": "2"}})
    do("stripe-meter.delete", {"id": first})
    do("stripe-meter.create", {"appId": app, "meterSlug": "calls", "eventName": "calls", "checked": found})
    do("app.uninstall", {"id": app})


def _profiles(do: Story) -> None:
    custom = do("app.add", {"type": "custom_invoicing", "name": "Ours"})["app"]["id"]
    do("app.update", {
        "id": custom, "type": "custom_invoicing", "name": "Ours", "description": "d", "metadata": {"a": "1"},
        "enableDraftSyncHook": True, "enableIssuingSyncHook": True,
    })  # fmt: skip
    sandbox = do("app.add", {"type": "sandbox", "createBillingProfile": False})["app"]["id"]
    profile = do("billing-profile.create", {**PROFILE, "apps": of_app(custom)})
    do("billing-profile.update", {"id": profile["id"], **PROFILE, "timeZone": "UTC"})
    do("billing-override.upsert", {"customerId": "other", "billingProfileId": profile["id"]})
    do("billing-override.upsert", {"customerId": "other"})
    do("billing-override.delete", {"customerId": "other"})
    plain = do("billing-profile.create", {**PLAIN, "apps": of_app(sandbox)})
    do("billing-profile.delete", {"id": plain["id"]})
    do("app.uninstall", {"id": sandbox})


def _managed(do: Story) -> None:
    customer = do("customer.create", {"name": "Subscribed"})["id"]
    feature = do("feature.create", {"key": "minutes", "name": "Minutes", "meterSlug": "calls"})["id"]
    common = {
        "subscriptionId": "01KEKZR000QPSTAZZXM3YB71SX", "customerId": customer, "featureId": feature,
        "featureKey": "minutes", "metadata": {"a": "1"},
    }  # fmt: skip
    metered = {
        **common, "type": "metered", "activeFrom": "2026-02-01T00:00:00.000Z",
        "usagePeriod": {"interval": "P1M", "anchor": "2026-02-01T00:00:00.000Z", "timeZone": "Europe/Berlin"},
        "measureUsageFrom": "2026-01-15T00:00:00.000Z", "isSoftLimit": True, "issueAfterReset": "10",
        "issueAfterResetPriority": 2, "preserveOverageAtReset": True,
    }  # fmt: skip
    first = {"id": "01KEKZR000QPSTAZZXM3YB71S1", "terms": metered}
    do("entitlement.follow", first)
    do("entitlement.follow", {**first, "activeTo": "2026-03-01T00:00:00.000Z"})
    static = {**common, "type": "static", "activeFrom": "2026-03-01T00:00:00.000Z", "config": '{"seats": 5}'}
    do("entitlement.follow", {"id": "01KEKZR000QPSTAZZXM3YB71S2", "terms": static})
    do("entitlement.follow", {"id": "01KEKZR000QPSTAZZXM3YB71S2"})


if __name__ == "__main__":
    PATH.write_text("".join(line + "\n" for line in written()), "utf-8")
