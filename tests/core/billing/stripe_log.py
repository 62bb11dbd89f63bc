"""A control log with a meter, a customer and an installed Stripe app: where the tests of billing commands begin."""

from __future__ import annotations

from typing import Any

from tests.fixtures.control_log import Log

SEALED = "sealed:v1:01234567:AAAA"
FACTS = {"stripeAccountId": "acct_1", "livemode": False, "maskedApiKey": "sk_test_***abc"}
FOUND = {
    "stripeMeterId": "mtr_1", "customerKey": "stripe_customer_id", "valueKey": "value", "formula": "sum",
    "active": True,
}  # fmt: skip
METER = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model", "kind": "$.kind"},
}  # fmt: skip
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def install(log: Log, account: str = "acct_1", **more: Any) -> str:
    """The id of a new app."""
    facts = {**FACTS, "stripeAccountId": account}
    return str(log.do("app.install", {"apiKey": SEALED, "checked": facts, **more})["id"])


def connected() -> tuple[Log, str]:
    """The log and the id of its app."""
    log = Log()
    log.do("meter.create", METER)
    log.do("customer.create", {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": []}})
    return log, install(log)


def mapping(app: str, **more: Any) -> dict[str, Any]:
    """The body of stripe-meter.create."""
    return {"appId": app, "meterSlug": "tokens", "eventName": "tokens", "checked": FOUND, **more}
