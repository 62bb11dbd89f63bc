"""A request that succeeds for every route that changes something, each time about something new.

Owns: the table, and making what a request needs to be there before. Does not own: any test. A new route that changes
something fails the tests until it is in this table.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.api.http.described import ASKING
from pipeline.core.notifications.delivery import begin
from pipeline.core.values import timestamp
from pipeline.records import Alert
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.api import billing_changes as billing
from tests.api.catalog_changes import CATALOG
from tests.api.credit_changes import OF_CREDITS
from tests.api.invoice_changes import OF_INVOICES
from tests.api.profile_changes import OF_PROFILES
from tests.api.scope_table import (
    APPS,
    CHANNELS,
    CUSTOMERS,
    DELIVERIES,
    ENDPOINTS,
    FEATURES,
    FIRED,
    GRANTS,
    KEYS,
    MAPPINGS,
    METERS,
    NEEDED,
    OF_CUSTOMER,
    OF_CUSTOMER_APPS,
    OF_SUBJECT,
    ONE,
    RULES,
    SUBJECTS,
    TOKENS,
)
from tests.api.subscription_changes import OF_SUBSCRIPTIONS
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox

ROUTES = sorted(
    (method, path)
    for method, path in NEEDED
    if method in ("POST", "PUT", "PATCH", "DELETE") and (method.lower(), path) not in ASKING
)
_numbers = itertools.count()


@dataclass(frozen=True)
class Change:
    """One request. body: None for none."""

    method: str
    path: str
    body: Any = None

    def send(self, api: TestClient, headers: dict[str, str] | None = None) -> Any:
        """The response."""
        return api.request(
            self.method, f"http://testserver{self.path}", json=self.body, headers=headers or {}
        )


class World:
    """Makes what requests need. api: without authentication, or with the headers of an admin as its own."""

    def __init__(self, api: TestClient, settings: Settings, stripe: ServedSandbox) -> None:
        self.api = api
        self.settings = settings
        self.stripe = stripe

    def change(self, method: str, path: str) -> Change:
        """A request to a route that succeeds."""
        return CHANGES[method, path](self)

    def name(self) -> str:
        """One that nothing has yet."""
        return f"n{next(_numbers)}"

    def make(self, path: str, body: Any, method: str = "POST") -> Any:
        made = self.api.request(method, f"http://testserver{path}", json=body)
        assert made.is_success, made.text
        return made.json()

    def meter(self) -> Any:
        return self.make(METERS, self.meter_body())

    def meter_body(self) -> dict[str, Any]:
        return {
            "slug": self.name(),
            "eventType": "t",
            "aggregation": "SUM",
            "valueProperty": "$.v",
            "groupBy": {"model": "$.model"},
            "name": "M",
            "description": "d",
            "metadata": {"a": "b"},
            "eventFrom": "2026-01-01T00:00:00Z",
        }

    def customer(self) -> Any:
        return self.make(CUSTOMERS, self.customer_body())

    def customer_body(self) -> dict[str, Any]:
        name = self.name()
        return {
            "key": name,
            "name": "C",
            "description": "d",
            "usageAttribution": {"subjectKeys": [f"{name}-subject"]},
            "primaryEmail": "a@example.com",
            "currency": "EUR",
            "billingAddress": {
                "country": "DE",
                "postalCode": "10115",
                "state": "BE",
                "city": "Berlin",
                "line1": "1",
                "line2": "2",
                "phoneNumber": "+49",
            },
            "metadata": {"a": "b"},
        }

    def subject_body(self) -> dict[str, Any]:
        return {"key": self.name(), "displayName": "S", "metadata": {"a": "b"}, "stripeCustomerId": "cus_1"}

    def feature(self) -> Any:
        return self.make(FEATURES, self.feature_body())

    def feature_body(self) -> dict[str, Any]:
        return {
            "key": self.name(),
            "name": "F",
            "meterSlug": self.meter()["slug"],
            "advancedMeterGroupByFilters": {"model": {"$in": ["a", "b"]}},
            "metadata": {"a": "b"},
            "unitCost": {"type": "manual", "amount": "0.1"},
        }

    def channel(self) -> Any:
        return self.make(CHANNELS, self.channel_body())

    def channel_body(self) -> dict[str, Any]:
        return {
            "type": "WEBHOOK",
            "name": "E",
            "url": "https://example.com/hook",
            "customHeaders": {"x-a": "b"},
            "disabled": False,
            "metadata": {"a": "b"},
        }

    def rule(self) -> Any:
        return self.make(RULES, self.rule_body())

    def rule_body(self) -> dict[str, Any]:
        return {
            "type": "entitlements.balance.threshold",
            "name": "R",
            "channels": [self.channel()["id"]],
            "features": [self.feature()["key"]],
            "thresholds": [{"type": "usage_percentage", "value": 80}],
            "rearm": "resolved",
            "disabled": False,
            "metadata": {"a": "b"},
        }

    def entitlement_body(self) -> dict[str, Any]:
        return {
            "type": "metered",
            "featureKey": self.feature()["key"],
            "usagePeriod": {"interval": "MONTH", "anchor": self.minute(-600)},
            "measureUsageFrom": self.minute(-600),
            "isSoftLimit": False,
            "issueAfterReset": 10,
            "issueAfterResetPriority": 2,
            "preserveOverageAtReset": True,
            "gracePeriod": "PT1H",
            "grants": [self.grant_body()],
            "metadata": {"a": "b"},
        }

    def grant_body(self) -> dict[str, Any]:
        return {
            "amount": 10.5,
            "priority": 2,
            "effectiveAt": self.minute(0),
            "expiration": {"duration": "MONTH", "count": 2},
            "recurrence": {"interval": "WEEK", "anchor": self.minute(0)},
            "minRolloverAmount": 1,
            "maxRolloverAmount": 2,
            "metadata": {"a": "b"},
        }

    def key_body(self) -> dict[str, Any]:
        return {"name": "K", "scopes": ["query"], "expiresAt": "2030-01-01T00:00:00Z"}

    def minute(self, offset_s: int) -> str:
        """A whole minute, so many seconds from now."""
        return timestamp.text_of((int(time.time() + offset_s) // 60) * 60_000)

    def entitled(self, base: str) -> tuple[str, str]:
        """The path of an entitlement below a customer's or subject's, and its feature's key."""
        customer, body = self.customer(), self.entitlement_body()
        of = customer["key"] if "customer" in base else f"{customer['key']}-subject"
        path = base.replace("{customerIdOrKey}", of).replace("{subjectIdOrKey}", of)
        self.make(path, body)
        return f"{path}/{body['featureKey']}", body["featureKey"]

    def holder(self, base: str) -> str:
        """The path of a new customer's, or subject's, entitlements."""
        key = self.customer()["key"]
        return base.replace("{customerIdOrKey}", key).replace("{subjectIdOrKey}", f"{key}-subject")

    def event(self) -> tuple[str, str]:
        """An event that a rule's test made: its id, and the id of its channel."""
        rule = self.rule()
        return self.make(f"{RULES}/{rule['id']}/test", None)["id"], rule["channels"][0]["id"]

    def delivery(self) -> str:
        """The id of a delivery that the webhook stage has written."""
        event, channel = self.event()
        delivery = begin(Alert(event, "default", "x", "", 1, [], "{}"), channel, 1, (0,))
        producer = Producer(cluster.producer_config(self.settings))
        producer.produce("deliveries", msgspec.json.encode(delivery), delivery.id)
        producer.flush(10)
        deadline = time.monotonic() + PATIENCE_S
        while self.api.get(f"http://testserver{DELIVERIES}/{delivery.id}").status_code != 200:
            assert time.monotonic() < deadline
        return delivery.id


def _overridden(world: World, base: str) -> Change:
    path, feature = world.entitled(base)
    return Change("PUT", path + "/override", {**world.entitlement_body(), "featureKey": feature})


def _resent(event: str, channel: str) -> Change:
    return Change("POST", f"{FIRED}/{event}/resend", {"channels": [channel]})


CHANGES: dict[tuple[str, str], Callable[[World], Change]] = {
    ("POST", METERS): lambda w: Change("POST", METERS, w.meter_body()),
    ("POST", "/api/v1/imports"): lambda w: Change(
        "POST", "/api/v1/imports", [{"customer": w.customer_body()}]
    ),
    ("POST", METERS + "/apply"): lambda w: Change(
        "POST", METERS + "/apply", [w.meter_body(), w.meter_body()]
    ),
    ("PUT", METERS + "/{meterIdOrSlug}"): lambda w: Change(
        "PUT",
        f"{METERS}/{w.meter()['slug']}",
        {"name": "N", "description": "e", "groupBy": {"kind": "$.kind"}, "metadata": {"c": "d"}},
    ),
    ("DELETE", METERS + "/{meterIdOrSlug}"): lambda w: Change("DELETE", f"{METERS}/{w.meter()['id']}"),
    ("POST", CUSTOMERS): lambda w: Change("POST", CUSTOMERS, w.customer_body()),
    ("PUT", CUSTOMERS + "/{customerIdOrKey}"): lambda w: Change(
        "PUT", f"{CUSTOMERS}/{w.customer()['key']}", w.customer_body()
    ),
    ("DELETE", CUSTOMERS + "/{customerIdOrKey}"): lambda w: Change(
        "DELETE", f"{CUSTOMERS}/{w.customer()['key']}"
    ),
    ("POST", SUBJECTS): lambda w: Change("POST", SUBJECTS, [w.subject_body(), w.subject_body()]),
    ("DELETE", SUBJECTS + "/{subjectIdOrKey}"): lambda w: Change(
        "DELETE", f"{SUBJECTS}/{w.make(SUBJECTS, [w.subject_body()])[0]['key']}"
    ),
    ("POST", FEATURES): lambda w: Change("POST", FEATURES, w.feature_body()),
    ("DELETE", FEATURES + "/{featureId}"): lambda w: Change("DELETE", f"{FEATURES}/{w.feature()['key']}"),
    ("POST", KEYS): lambda w: Change("POST", KEYS, w.key_body()),
    ("DELETE", KEYS + "/{keyId}"): lambda w: Change("DELETE", f"{KEYS}/{w.make(KEYS, w.key_body())['id']}"),
    ("POST", KEYS + "/{keyId}/rotate"): lambda w: Change(
        "POST", f"{KEYS}/{w.make(KEYS, w.key_body())['id']}/rotate", {"overlapS": 60}
    ),
    ("POST", TOKENS): lambda w: Change(
        "POST",
        TOKENS,
        {"subject": "s", "allowedMeterSlugs": [w.meter()["slug"]], "expiresAt": w.minute(1800)},
    ),
    ("POST", TOKENS + "/invalidate"): lambda w: Change(
        "POST",
        TOKENS + "/invalidate",
        {"id": w.make(TOKENS, {"subject": "invalidated"})["id"], "subject": "invalidated"},
    ),
    ("DELETE", GRANTS + "/{grantId}"): lambda w: Change(
        "DELETE",
        f"{GRANTS}/{w.make(w.entitled('/api/v1' + OF_CUSTOMER)[0] + '/grants', w.grant_body())['id']}",
    ),
    ("POST", CHANNELS): lambda w: Change("POST", CHANNELS, w.channel_body()),
    ("PUT", CHANNELS + "/{channelId}"): lambda w: Change(
        "PUT", f"{CHANNELS}/{w.channel()['id']}", {**w.channel_body(), "name": "other"}
    ),
    ("DELETE", CHANNELS + "/{channelId}"): lambda w: Change("DELETE", f"{CHANNELS}/{w.channel()['id']}"),
    ("POST", ENDPOINTS + "/{channelId}/rotate"): lambda w: Change(
        "POST", f"{ENDPOINTS}/{w.channel()['id']}/rotate", {"overlapS": 60}
    ),
    ("POST", ENDPOINTS + "/{channelId}/replay"): lambda w: Change(
        "POST",
        f"{ENDPOINTS}/{w.channel()['id']}/replay",
        {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02", "states": ["FAILED", "SUCCESS"]},
    ),
    ("POST", RULES): lambda w: Change("POST", RULES, w.rule_body()),
    ("PUT", RULES + "/{ruleId}"): lambda w: Change(
        "PUT", f"{RULES}/{w.rule()['id']}", {**w.rule_body(), "name": "other"}
    ),
    ("DELETE", RULES + "/{ruleId}"): lambda w: Change("DELETE", f"{RULES}/{w.rule()['id']}"),
    ("POST", RULES + "/{ruleId}/test"): lambda w: Change("POST", f"{RULES}/{w.rule()['id']}/test"),
    ("POST", FIRED + "/{eventId}/resend"): lambda w: _resent(*w.event()),
    ("POST", DELIVERIES + "/{deliveryId}/resend"): lambda w: Change(
        "POST", f"{DELIVERIES}/{w.delivery()}/resend"
    ),
}


def _in_apps(path: str, body: dict[str, Any]) -> Change:
    return Change("PUT", f"{path}/apps", [{"type": "stripe", **body}])


def _of_catalog(method: str, made: Callable[[World], tuple[str, Any]]) -> Callable[[World], Change]:
    return lambda w: Change(method, *made(w))


OF_PARTS = {**CATALOG, **OF_PROFILES, **OF_SUBSCRIPTIONS, **OF_INVOICES, **OF_CREDITS}
CHANGES |= {place: _of_catalog(place[0], made) for place, made in OF_PARTS.items()}
CHANGES |= {
    ("POST", billing.INSTALL): lambda w: Change("POST", billing.INSTALL, billing.app_body(w)),
    ("PUT", APPS + "/{appId}"): lambda w: Change("PUT", *billing.changed_app(w)),
    ("DELETE", APPS + "/{appId}"): lambda w: Change("DELETE", f"{APPS}/{billing.app(w)}"),
    ("PUT", APPS + "/{appId}/stripe/api-key"): lambda w: Change("PUT", *billing.new_key(w)),
    ("PUT", OF_CUSTOMER_APPS): lambda w: _in_apps(*billing.customer_data(w)),
    ("DELETE", OF_CUSTOMER_APPS + "/{appId}"): lambda w: Change("DELETE", billing.data_in_app(w)),
    ("PUT", "/api/v1/customers/{customerIdOrKey}/stripe"): lambda w: _at_stripe(*billing.customer_data(w)),
    ("POST", MAPPINGS): lambda w: Change("POST", MAPPINGS, billing.mapping_body(w)),
    ("PUT", MAPPINGS + "/{mappingId}"): lambda w: Change("PUT", *billing.changed_mapping(w)),
    ("DELETE", MAPPINGS + "/{mappingId}"): lambda w: Change("DELETE", billing.changed_mapping(w)[0]),
}


def _at_stripe(path: str, body: dict[str, Any]) -> Change:
    return Change("PUT", f"{path}/stripe", body)


def _of(base: str) -> dict[tuple[str, str], Callable[[World], Change]]:
    """The changes below the entitlements of a customer or a subject."""
    return {
        ("POST", base): lambda w: Change("POST", w.holder(base), w.entitlement_body()),
        ("DELETE", base + ONE): lambda w: Change("DELETE", w.entitled(base)[0]),
        ("PUT", base + ONE + "/override"): lambda w: _overridden(w, base),
        ("POST", base + ONE + "/reset"): lambda w: Change(
            "POST",
            w.entitled(base)[0] + "/reset",
            {"effectiveAt": w.minute(0), "retainAnchor": True, "preserveOverage": False},
        ),
        ("POST", base + ONE + "/grants"): lambda w: Change(
            "POST", w.entitled(base)[0] + "/grants", w.grant_body()
        ),
    }


for _base in ("/api/v1" + OF_CUSTOMER, "/api/v2" + OF_CUSTOMER, OF_SUBJECT):
    CHANGES |= _of(_base)
