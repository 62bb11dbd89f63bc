"""Checkout and portal sessions over HTTP: for a customer that Stripe has, one that it has not, and a new one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from tests.api.billing.stripe_world import StripeWorld
from tests.fixtures.control_stage import ControlStage
from tests.local.stripe_sandbox.sandbox_server import KEY, ServedSandbox, account

CHECKOUT = "/stripe/checkout/sessions"
OPTIONS = {"successURL": "https://us.example/done"}


@pytest.fixture(scope="module")
def world(served: Settings, store: ClickHouse, decider: ControlStage) -> Iterator[StripeWorld]:
    with ServedSandbox(StripeSandbox(account(), SandboxClock())) as stripe:
        sealing = SecretStr(base64.b64encode(bytes(32)).decode())
        settings = served.model_copy(update={"stripe_address": stripe.url, "secrets_key": sealing})
        with TestClient(create_app(settings), base_url="http://testserver/api/v1") as api:
            world = StripeWorld(settings, store, api, stripe)
            made = api.post("/marketplace/listings/stripe/install/apikey", json={"apiKey": KEY})
            assert made.status_code == 200, made.text
            yield world


def customer(world: StripeWorld, key: str) -> str:
    body = {
        "key": key,
        "name": key,
        "primaryEmail": f"{key}@example.com",
        "usageAttribution": {"subjectKeys": []},
    }
    return str(world.api.post("/customers", json=body).json()["id"])


def checkout(world: StripeWorld, **sent: Any) -> dict[str, Any]:
    answer = world.api.post(CHECKOUT, json={"options": OPTIONS, **sent})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_customer_that_stripe_does_not_have_is_created_there_once(world: StripeWorld) -> None:
    id = customer(world, "sessions-1")
    first, second = (checkout(world, customer=one) for one in ({"id": id}, {"key": "sessions-1"}))
    assert first["customerId"] == second["customerId"] == id
    assert (
        first["stripeCustomerId"] == second["stripeCustomerId"] and first["sessionId"] != second["sessionId"]
    )
    found = world.stripe.sandbox.account.customers[first["stripeCustomerId"]]
    assert (found.email, found.metadata["tm_customer_id"]) == ("sessions-1@example.com", id)
    assert world.api.get(f"/customers/{id}/stripe").json()["stripeCustomerId"] == first["stripeCustomerId"]
    portal = world.api.post(f"/customers/{id}/stripe/portal", json={"returnUrl": "https://us.example"})
    assert (portal.status_code, portal.json()["stripeCustomerId"]) == (201, first["stripeCustomerId"])


def test_a_customer_of_stripe_can_be_named_and_a_new_customer_be_made(world: StripeWorld) -> None:
    known = world.stripe.sandbox.account.create_customer({}, 0).id
    body = {"key": "sessions-2", "name": "New", "usageAttribution": {"subjectKeys": []}}
    made = checkout(world, customer=body, stripeCustomerId=known)
    assert made["stripeCustomerId"] == known
    assert world.api.get("/customers/sessions-2").json()["id"] == made["customerId"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"customer": {"id": "none"}, "options": OPTIONS}, 404, "not-found"),
        ({"customer": {}, "options": OPTIONS}, 400, "bad-stripe-session"),
        ({"customer": {"key": "sessions-3"}, "options": {}}, 400, "bad-stripe-session"),
        ({"options": OPTIONS}, 400, "bad-stripe-session"),
        ({"customer": {"key": "sessions-3"}, "options": OPTIONS, "appId": "01X"}, 404, "not-found"),
        ({"customer": {"key": "sessions-3"}, "options": OPTIONS, "stripeCustomerId": "cus_none"}, 400,
         "bad-customer-app"),
    ],
)  # fmt: skip
def test_other_requests_are_refused(world: StripeWorld, body: object, status: int, reason: str) -> None:
    answer = world.api.post(CHECKOUT, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


def test_a_portal_needs_a_customer_that_stripe_has(world: StripeWorld) -> None:
    id = customer(world, "sessions-4")
    for name in (id, "none"):
        assert world.api.post(f"/customers/{name}/stripe/portal", json={}).status_code == 404
    assert world.api.post(f"/customers/{id}/stripe/portal", json={"flow": "x"}).status_code in (400, 404)
