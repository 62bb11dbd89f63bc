"""The sandbox as the official client of Stripe sees it: success, refusals, limits, lost answers, webhooks."""

from __future__ import annotations

import asyncio
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
import pytest
import stripe
from stripe import StripeClient

from pipeline.core.values.token_bucket import BucketPolicy
from pipeline.local.stripe_sandbox.call import SandboxRequest, StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.limits import SandboxLimits
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import KEY, RESTRICTED, ServedSandbox, account

HOUR_S = 3_600


class Endpoint:
    """A receiver that keeps each body with its signature."""

    def __init__(self) -> None:
        arrived = self.arrived = queue.Queue[tuple[bytes, str]]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                arrived.put((body, self.headers["Stripe-Signature"]))
                self.send_response(200)
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def prepared(served: ServedSandbox) -> tuple[StripeClient, str, str]:
    """The client, a customer's id, a meter's id."""
    client = served.client()
    customer = client.v1.customers.create(params={"name": "ACME"})
    meter = client.v1.billing.meters.create(
        params={
            "display_name": "Tokens",
            "event_name": "tokens",
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
    )
    return client, customer.id, meter.id


def send(client: StripeClient, customer: str, value: int, identifier: str) -> None:
    client.v1.billing.meter_events.create(
        params={
            "event_name": "tokens",
            "payload": {"stripe_customer_id": customer, "value": str(value)},
            "identifier": identifier,
        }
    )


def total(served: ServedSandbox) -> int:
    totals = httpx.get(f"{served.url}/sandbox").json()["totals"].get("tokens", {})
    return sum(totals.values())


def script(served: ServedSandbox, *rules: dict[str, Any]) -> None:
    answer = httpx.post(f"{served.url}/sandbox/faults", json={"rules": list(rules)})
    assert answer.status_code == 200, answer.text


def test_the_official_client_sends_events_and_reads_their_sum() -> None:
    with ServedSandbox() as served:
        client, customer, meter = prepared(served)
        send(client, customer, 3, "e1")
        send(client, customer, 4, "e2")
        with pytest.raises(stripe.InvalidRequestError, match="An event already exists with identifier e1"):
            send(client, customer, 3, "e1")
        start_s = served.sandbox.clock.now_s() // HOUR_S * HOUR_S
        page = client.v1.billing.meters.event_summaries.list(
            meter,
            params={
                "customer": customer,
                "start_time": start_s - HOUR_S,
                "end_time": start_s + HOUR_S,
                "value_grouping_window": "hour",
            },
        )
        assert [row.aggregated_value for row in page.data] == [7.0]


def test_keys_and_rights_are_checked() -> None:
    with ServedSandbox() as served:
        assert served.client().v1.accounts.retrieve_current().id == "acct_sandbox"
        with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided: sk_wrong"):
            served.client("sk_wrong_key").v1.accounts.retrieve_current()
        with pytest.raises(stripe.PermissionError, match="'billing_meter_event_write'"):
            send(served.client(RESTRICTED), "cus_1", 1, "e1")


@pytest.mark.parametrize(
    ("kind", "error", "counted"),
    [
        ("rate-limited", stripe.RateLimitError, 0),
        ("rate-limited-retry", stripe.RateLimitError, 0),
        ("error-stored", stripe.APIError, 3),
        ("error-not-stored", stripe.APIError, 0),
        ("timeout-before", stripe.APIConnectionError, 0),
        ("timeout-after", stripe.APIConnectionError, 3),
        ("reset-before", stripe.APIConnectionError, 0),
        ("reset-after", stripe.APIConnectionError, 3),
        ("unavailable", stripe.APIError, 0),
    ],
)
def test_a_scripted_fault_is_made_once_and_the_event_counts_as_the_fault_says(
    kind: str, error: type[Exception], counted: int
) -> None:
    with ServedSandbox() as served:
        _, customer, _ = prepared(served)
        client = served.client(timeout_s=0.5)
        script(served, {"kinds": [kind], "path": "/v1/billing/meter_events", "times": 1})
        with pytest.raises(error):
            send(client, customer, 3, "e1")
        assert total(served) == counted
        if counted:
            with pytest.raises(stripe.InvalidRequestError, match="already exists"):
                send(client, customer, 3, "e1")
        else:
            send(client, customer, 3, "e1")
        assert total(served) == 3


def test_an_idempotency_key_gives_its_first_result_for_a_day_and_takes_no_other_parameters() -> None:
    with ServedSandbox() as served:
        client = served.client()
        options: Any = {"idempotency_key": "k1"}
        first = client.v1.customers.create(params={"name": "ACME"}, options=options)
        assert client.v1.customers.create(params={"name": "ACME"}, options=options).id == first.id
        with pytest.raises(stripe.IdempotencyError, match="same parameters"):
            client.v1.customers.create(params={"name": "Other"}, options=options)
        served.sandbox.clock.advance(24 * HOUR_S)
        assert client.v1.customers.create(params={"name": "Other"}, options=options).id != first.id


def test_limits_are_kept_and_named() -> None:
    limits = SandboxLimits(whole=BucketPolicy(1, 3), endpoint=BucketPolicy(1, 2))
    with ServedSandbox(StripeSandbox(account(), SandboxClock(), limits)) as served:
        client = served.client()
        for _ in range(2):
            client.v1.accounts.retrieve_current()
        reasons = []
        for _ in range(2):
            with pytest.raises(stripe.RateLimitError) as limited:
                client.v1.accounts.retrieve_current()
            assert limited.value.headers is not None
            reasons.append(limited.value.headers["Stripe-Rate-Limited-Reason"])
        assert reasons == ["endpoint-rate", "global-rate"]


def test_two_events_at_once_of_one_customer_and_meter_are_one_too_many() -> None:
    sandbox = StripeSandbox(account(), SandboxClock(), latency_s=0.05)

    def request(identifier: str, customer: str) -> SandboxRequest:
        body = f"event_name=tokens&payload[stripe_customer_id]={customer}&payload[value]=1&identifier={identifier}"
        return SandboxRequest("POST", "/v1/billing/meter_events", body=body, key=KEY)

    async def run() -> list[int]:
        requests = [request("e1", "cus_1"), request("e2", "cus_1"), request("e3", "cus_2")]
        return [answer.status for answer in await asyncio.gather(*map(sandbox.answer, requests))]

    assert asyncio.run(run()) == [200, 429, 200]


def test_an_error_report_arrives_signed_and_its_data_can_be_read() -> None:
    with ServedSandbox() as served, Endpoint() as receiver:
        client, _, meter = prepared(served)
        endpoint = client.v1.webhook_endpoints.create(
            params={"url": f"{receiver.url}", "enabled_events": ["*"]}
        )
        send(client, "cus_unknown", 3, "e1")
        assert httpx.post(f"{served.url}/sandbox/reports").json()["events"] == 1
        assert endpoint.secret is not None
        notification = client.parse_event_notification(
            *receiver.arrived.get(timeout=PATIENCE_S), endpoint.secret
        )
        assert notification.type == "v1.billing.meter.error_report_triggered"
        event = client.v2.core.events.retrieve(notification.id)
        data: Any = event["data"]
        assert data["reason"]["error_types"][0]["code"] == "meter_event_customer_not_found"
        related: Any = event["related_object"]
        assert related["id"] == meter
