"""What the tests of drift, status and webhooks are about: an app, two mappings, customers, rows, a sandbox.

Owns: putting them where the API reads them. Does not own: what differs, which a test plants.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.billing.app import StripeApp
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.index import key_of
from pipeline.core.values.timestamp import text_of
from pipeline.records import Definition, StripeUsage, Window
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import stripe_columns, window_columns
from pipeline.stores.kafka import client as cluster
from tests.core.billing.stripe_log import FACTS, SEALED, mapping
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import KEY, ServedSandbox

HOUR_S = 3_600
APP, TOKENS, CALLS = "01KJ0000000000000000000APP", "01KJ000000000000000000MAP1", "01KJ000000000000000000MAP2"
SECRET = "whsec_test"
AT = "2026-01-01T00:00:00.000Z"
EVENT_NAMES = {"tokens": TOKENS, "calls": CALLS}


class StripeWorld:
    """hour: start of the current hour, seconds since 1970. customers: id by key."""

    def __init__(self, settings: Settings, store: ClickHouse, api: TestClient, stripe: ServedSandbox) -> None:
        self.settings, self._store, self.api, self.stripe = settings, store, api, stripe
        self._revision, self._offset = 1_000, 0
        self.hour = int(time.time()) // HOUR_S * HOUR_S
        self.meters: dict[str, Any] = {}
        self.customers: dict[str, str] = {}
        self.stripe_ids: dict[str, str] = {}

    def prepare(self) -> None:
        """An app, the meters tokens (one unit each) and calls (a thousandth), the customers acme, globex, hooli."""
        now_s = self.stripe.sandbox.clock.now_s()
        for slug, multiplier in (("tokens", "1"), ("calls", "0.001")):
            made = self.api.post("/meters", json={"slug": slug, "eventType": slug, "aggregation": "COUNT"})
            self.meters[slug] = made.json()
            at_stripe = self.stripe.sandbox.account.create_meter(
                {"display_name": slug, "event_name": slug, "default_aggregation": {"formula": "sum"}}, now_s
            )  # fmt: skip
            self.define(EVENT_NAMES[slug], StripeMeter(
                id=EVENT_NAMES[slug], app_id=APP, meter_slug=slug, meter_id=made.json()["id"], event_name=slug,
                stripe_meter_id=at_stripe.id, customer_key="stripe_customer_id", value_key="value", window="HOUR",
                multiplier=multiplier, from_at=AT, created_at=AT, updated_at=AT,
            ))  # fmt: skip
        self.app()
        for key in ("acme", "globex", "hooli"):
            body = {"key": key, "name": key, "usageAttribution": {"subjectKeys": [f"{key}-prod"]}}
            self.customers[key] = self.api.post("/customers", json=body).json()["id"]
            if key != "hooli":
                self.stripe_ids[key] = self.stripe.sandbox.account.create_customer({"name": key}, now_s).id
                self.define(customer_app_name(self.customers[key], APP), CustomerApp(
                    customer_id=self.customers[key], app_id=APP, stripe_customer_id=self.stripe_ids[key],
                    created_at=AT, updated_at=AT,
                ))  # fmt: skip

    def app(self, **others: Any) -> None:
        """The app, changed. Its secrets are as a stack without `secrets_key` has them."""
        body = {
            "id": APP, "type": "stripe", "name": "Stripe", "status": "ready", "stripe_account_id": "acct_sandbox",
            "livemode": False, "masked_api_key": "sk_test_***box", "sealed_api_key": KEY,
            "sealed_webhook_secret": SECRET, "created_at": AT, "updated_at": AT,
        }  # fmt: skip
        self.define(APP, StripeApp(**body | others))

    def define(self, name: str, body: DefinitionBody) -> None:
        """Publish a definition, and return when the API has read it."""
        self._revision += 1
        made = Definition(self._revision, body.kind, "default", name, "", 0, dict(body.members))
        producer = Producer(cluster.producer_config(self.settings))
        producer.produce("control", msgspec.json.encode(made), key_of(made))
        assert producer.flush(PATIENCE_S) == 0
        assert self.api.app.state.services.definitions.wait_revision(self._revision, 10)  # type: ignore[attr-defined]

    def at(self, hours_ago: int) -> str:
        """The start of an hour."""
        return text_of((self.hour - hours_ago * HOUR_S) * 1_000)

    def rename(self, customer: str) -> None:
        """Give a customer another id at Stripe."""
        former, sandbox = self.stripe_ids[customer], self.stripe.sandbox
        self.stripe_ids[customer] = sandbox.account.create_customer({}, sandbox.clock.now_s()).id
        self.define(customer_app_name(self.customers[customer], APP), CustomerApp(
            customer_id=self.customers[customer], app_id=APP, stripe_customer_id=self.stripe_ids[customer],
            former_stripe_ids=(former,), created_at=AT, updated_at=AT,
        ))  # fmt: skip

    def use(self, customer: str, hours_ago: int, number: int, meter: str = "tokens") -> None:
        """Events of one minute, as ClickHouse has them."""
        start_s = self.hour - hours_ago * HOUR_S
        window = Window("default", meter, self.meters[meter]["revision"], f"{customer}-prod", {}, start_s, str(number),
                        number, "0", "", [], 1, start_s * 1_000)  # fmt: skip
        self._store.insert("windows", window_columns([window], 1))

    def state(self, customer: str, hours_ago: int, wanted: int, meter: str = "tokens", **others: Any) -> None:
        """The newest state of a window, as the sink has stored it."""
        start_s = self.hour - hours_ago * HOUR_S
        self._offset += 1
        given: dict[str, Any] = {
            "exact": str(wanted), "confirmed": wanted, "unsendable": 0, "pending": 0, "cause": "", "message": "",
            "requests": 1, "at_ms": (start_s + HOUR_S) * 1_000, "app": APP, "mapping": EVENT_NAMES[meter],
        }  # fmt: skip
        one = StripeUsage(
            namespace="default", meter=meter, customer=self.customers[customer], dimensions={},
            start_s=start_s, end_s=start_s + HOUR_S, wanted=wanted, revision=self._offset,
            **given | others,
        )  # fmt: skip
        self._store.insert("stripe_usage", stripe_columns([one], 1))

    def at_stripe(self, customer: str, hours_ago: int, *units: int, meter: str = "tokens") -> None:
        """Meter events that Stripe has counted."""
        events = self.stripe.sandbox.events
        for value in units:
            events.create(
                {
                    "event_name": meter,
                    "payload": {"stripe_customer_id": self.stripe_ids[customer], "value": str(value)},
                    "identifier": f"e{len(events.events)}",
                    "timestamp": str(self.hour - hours_ago * HOUR_S),
                },
                self.stripe.sandbox.clock.now_s(),
            )

    def connect(self, *meters: str) -> tuple[str, list[str]]:
        """Another app and mappings of meters, decided by control. Returns their ids."""
        app = self.command("app.install", apiKey=SEALED, checked=FACTS)["id"]
        named = [mapping(app, meterSlug=meter, eventName=f"{meter}-{app}") for meter in meters]
        return app, [self.command("stripe-meter.create", **one)["id"] for one in named]

    def command(self, kind: str, **body: Any) -> Any:
        """The body of the reply, which the API has read."""
        services = self.api.app.state.services  # type: ignore[attr-defined]
        reply = services.commands.run(kind, "default", body, actor="ann")
        assert services.definitions.wait_revision(reply.revision, 10)
        return reply.body

    def drift(self, **params: Any) -> Any:
        """The answer of GET /billing/stripe/drift."""
        found = self.api.get("/billing/stripe/drift", params=params)
        assert found.status_code == 200, found.text
        return found.json()
