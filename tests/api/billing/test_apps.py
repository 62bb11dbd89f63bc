"""Stripe apps, customers in them and mappings over HTTP, against the sandbox: what works, and each refusal."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.core.billing.app import place
from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.values.sealed import Seal
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.settings import Settings
from pipeline.stores.kafka.audit import AuditFilter, AuditLog
from tests.local.stripe_sandbox.sandbox_server import KEY, RESTRICTED, ServedSandbox, account
from tests.local.stripe_sandbox.test_meter_events import METER

pytestmark = pytest.mark.usefixtures("decider")
SECRETS_KEY = base64.b64encode(bytes(range(32))).decode()
INSTALL, APPS, MAPPINGS = "/marketplace/listings/stripe/install/apikey", "/apps", "/billing/stripe/meters"
INVOICE_RIGHTS = frozenset({"customer_write", "invoice_read", "invoice_write"})
USAGE_RIGHTS = frozenset({"account_read", "billing_meter_read", "customer_read", "billing_meter_event_write"})
ALL_RIGHTS = USAGE_RIGHTS | INVOICE_RIGHTS
TOKENS = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}  # fmt: skip
CUS_1, CUS_2 = "cus_sandbox00000001", "cus_sandbox00000002"


@pytest.fixture(scope="module")
def stripe() -> Iterator[ServedSandbox]:
    """A sandbox with a meter `tokens` and two customers."""
    sandbox = StripeSandbox(account(), SandboxClock())
    sandbox.account.create_meter(METER, 0)
    for name in ("ACME", "Globex"):
        sandbox.account.create_customer({"name": name}, 0)
    with ServedSandbox(sandbox) as served:
        yield served


@pytest.fixture(scope="module")
def connected(served: Settings, stripe: ServedSandbox) -> Settings:
    more = {"secrets_key": SecretStr(SECRETS_KEY), "stripe_address": stripe.url, "stripe_timeout_s": 10.0}
    return served.model_copy(update=more)


@pytest.fixture(scope="module")
def api(connected: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(connected), base_url="http://testserver/api/v1") as client:
        assert client.post("/meters", json=TOKENS).status_code == 201
        for key in ("acme", "globex"):
            assert client.post("/customers", json={"key": key, "name": key}).status_code == 201
        yield client


@pytest.fixture
def app(api: TestClient, stripe: ServedSandbox) -> Iterator[dict[str, Any]]:
    """An installed app, uninstalled afterwards."""
    made = api.post(INSTALL, json={"apiKey": KEY})
    assert made.status_code == 200, made.text
    yield made.json()["app"]
    httpx.post(f"{stripe.url}/sandbox/faults", json={"rules": []})
    api.delete(f"{APPS}/{made.json()['app']['id']}")


def refused(response: httpx.Response) -> tuple[int, str, str]:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    return response.status_code, problem["reason"], problem["detail"]


def fail(stripe: ServedSandbox, kind: str) -> None:
    httpx.post(f"{stripe.url}/sandbox/faults", json={"rules": [{"kinds": [kind]}]})


def test_an_account_is_connected_once_and_its_key_is_never_shown(
    api: TestClient, app: dict[str, Any], connected: Settings
) -> None:
    assert {name: app[name] for name in ("type", "name", "status", "stripeAccountId", "livemode", "maskedAPIKey")} == {
        "type": "stripe", "name": "Stripe", "status": "ready", "stripeAccountId": "acct_sandbox", "livemode": False,
        "maskedAPIKey": "sk_test_***box",
    }  # fmt: skip
    assert api.get(f"{APPS}/{app['id']}").json() == app
    assert api.get(APPS).json()["items"] == [api.get(f"{APPS}/{sandbox_of('default').id}").json(), app]
    status, reason, detail = refused(api.post(INSTALL, json={"apiKey": KEY}))
    assert (status, reason) == (409, "app-conflict") and app["id"] in detail
    log = api.app.state.services.definitions  # type: ignore[attr-defined]
    sealed = log.body("default", "app", app["id"])["sealedApiKey"]
    assert Seal.of(SECRETS_KEY).open(sealed, place("default")) == KEY
    with AuditLog(connected) as audit:
        records = str(audit.find(AuditFilter("default"), 0, 100))
    assert "app.install" in records and KEY not in records and sealed not in records


def test_a_repeated_installation_is_done_once(api: TestClient, stripe: ServedSandbox) -> None:
    headers = {"idempotency-key": "install-once"}
    first, again = (api.post(INSTALL, json={"apiKey": KEY}, headers=headers) for _ in range(2))
    assert first.json() == again.json() and again.headers["idempotent-replayed"] == "true"
    api.delete(f"{APPS}/{first.json()['app']['id']}")


LACKING = "give the restricted key these rights in Stripe's dashboard, or use another key. Stripe refused to "


@pytest.mark.parametrize(
    ("key", "rights", "sentence"),
    [
        (
            "sk_test_wrong",
            ALL_RIGHTS,
            "Stripe refused to read the account: Invalid API Key provided: sk_test_***rong",
        ),
        (
            RESTRICTED,
            frozenset({"account_read", "customer_read"}) | INVOICE_RIGHTS,
            "The Stripe key lacks the right to list meters, read the summaries of meters and send meter events: "
            f"{LACKING}list the meters: The provided key 'rk_test_***dbox' does not have the required permissions",
        ),
        (
            RESTRICTED,
            ALL_RIGHTS - {"account_read"},
            f"The Stripe key lacks the right to read the account: {LACKING}read the account: The provided key",
        ),
        (
            RESTRICTED,
            frozenset(),
            "The Stripe key lacks the right to read the account, list meters, read customers, read the summaries of "
            "meters, send meter events, write customers, read invoices and write invoices: "
            f"{LACKING}read the account",
        ),
        (
            RESTRICTED,
            USAGE_RIGHTS | {"invoice_read"},
            f"The Stripe key lacks the right to write customers and write invoices: {LACKING}change a customer: The",
        ),
        (
            RESTRICTED,
            ALL_RIGHTS - {"invoice_read"},
            f"The Stripe key lacks the right to read invoices: {LACKING}read an invoice: The provided key",
        ),
    ],
)
def test_a_key_that_stripe_refuses_is_refused_with_what_it_lacks(
    api: TestClient, stripe: ServedSandbox, key: str, rights: frozenset[str], sentence: str
) -> None:
    stripe.sandbox.account.keys[RESTRICTED] = rights
    status, reason, detail = refused(api.post(INSTALL, json={"apiKey": key}))
    assert (status, reason) == (400, "stripe-key-refused")
    assert detail.startswith(sentence)
    assert KEY not in detail and [one["type"] for one in api.get(APPS).json()["items"]] == ["sandbox"]


def test_a_restricted_key_with_enough_rights_is_taken_and_trying_it_counts_nothing(
    api: TestClient, stripe: ServedSandbox
) -> None:
    stripe.sandbox.account.keys[RESTRICTED] = ALL_RIGHTS
    before = [one.json() for one in stripe.sandbox.account.customers.values()]
    made = api.post(INSTALL, json={"apiKey": RESTRICTED, "name": "Ours"})
    assert made.json()["app"]["name"] == "Ours", made.text
    sandbox = stripe.sandbox
    assert sandbox.events.events == [] and not sandbox.invoices.invoices
    assert [one.json() for one in sandbox.account.customers.values()] == before
    api.delete(f"{APPS}/{made.json()['app']['id']}")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"apiKey": "pk_test_1"}, "app apiKey must be a secret or restricted key of Stripe: sk_test_..., rk_test_..., "
         "sk_live_... or rk_live_..."),
        ({"apiKey": ["sk_test_1"]}, "app apiKey must be a secret or restricted key of Stripe: sk_test_..., "
         "rk_test_..., sk_live_... or rk_live_..."),
        ({}, "app apiKey is required"),
        ({"apikey": KEY}, "app has an unknown member 'apikey': it may have apiKey, name, webhookSecret"),
        ({"apiKey": KEY, "createBillingProfile": True}, "app createBillingProfile must be false or absent: "
         "create the profile that has the app"),
        ({"apiKey": KEY, "webhookSecret": "secret"}, "app webhookSecret must be a signing secret of Stripe, whsec_..., "
         "or two with a space between"),
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_is_refused(api: TestClient, body: dict[str, Any], sentence: str) -> None:
    assert refused(api.post(INSTALL, json=body)) == (400, "bad-app", sentence)


def test_a_live_key_is_sent_to_stripe_alone(api: TestClient, stripe: ServedSandbox) -> None:
    requests = stripe.sandbox.requests
    status, reason, detail = refused(api.post(INSTALL, json={"apiKey": "sk_live_1"}))
    assert (status, reason) == (400, "bad-app")
    assert (
        detail
        == f"The setting stripe_address is {stripe.url}, which is not Stripe: a live key is not sent there."
    )
    assert stripe.sandbox.requests == requests


def test_without_a_key_to_seal_with_nothing_is_stored(connected: Settings) -> None:
    settings = connected.model_copy(update={"secrets_key": SecretStr("")})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        assert refused(client.post(INSTALL, json={"apiKey": KEY})) == (
            400, "bad-app", "Keys of Stripe are stored only encrypted: set secrets_key first.",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("unavailable", "Stripe is unavailable, could not "),
        ("reset-before", "Stripe is unavailable, could not "),
        ("rate-limited", "Stripe is unavailable, could not "),
    ],
)
def test_while_stripe_is_unavailable_the_answer_is_503_with_its_message(
    api: TestClient, stripe: ServedSandbox, app: dict[str, Any], kind: str, detail: str
) -> None:
    fail(stripe, kind)
    for response in (
        api.put(f"{APPS}/{app['id']}/stripe/api-key", json={"secretAPIKey": KEY}),
        api.post(MAPPINGS, json={"meterSlug": "tokens", "eventName": "tokens"}),
        api.put("/customers/acme/stripe", json={"stripeCustomerId": CUS_1}),
    ):
        status, reason, found = refused(response)
        assert (status, reason) == (503, "unavailable") and found.startswith(detail)
    assert api.get(f"{APPS}/{app['id']}").status_code == 200  # what reads memory does not wait for Stripe


def test_a_slow_stripe_is_given_up_after_the_setting(
    connected: Settings, stripe: ServedSandbox, app: dict[str, Any]
) -> None:
    fail(stripe, "timeout-before")
    settings = connected.model_copy(update={"stripe_timeout_s": 0.5})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        assert refused(client.put("/customers/acme/stripe", json={"stripeCustomerId": CUS_1})) == (
            503, "unavailable", "Stripe is unavailable: it did not answer within 0.5 s.",
        )  # fmt: skip


def test_a_key_is_replaced_by_one_of_the_same_account(
    api: TestClient, stripe: ServedSandbox, app: dict[str, Any]
) -> None:
    path = f"{APPS}/{app['id']}"
    stripe.sandbox.account.keys["sk_test_second"] = frozenset({"*"})
    assert api.put(f"{path}/stripe/api-key", json={"secretAPIKey": "sk_test_second"}).status_code == 204
    assert api.get(path).json()["maskedAPIKey"] == "sk_test_***ond"
    changed = api.put(path, json={**app, "maskedAPIKey": None, "updatedAt": None, "name": "N", "metadata": {"a": "b"},
                                  "secretAPIKey": KEY, "webhookSecret": "whsec_1"})  # fmt: skip
    assert changed.status_code == 200, changed.text
    found = changed.json()
    assert (found["name"], found["maskedAPIKey"], found["hasWebhookSecret"]) == ("N", "sk_test_***box", True)
    stripe.sandbox.account.id = "acct_other"
    try:
        status, reason, detail = refused(api.put(f"{path}/stripe/api-key", json={"secretAPIKey": KEY}))
    finally:
        stripe.sandbox.account.id = "acct_sandbox"
    assert (status, reason) == (400, "bad-app") and "the Stripe account acct_other" in detail
    assert refused(api.put(f"{path}/stripe/api-key", json={}))[:2] == (400, "bad-app")


def test_a_customer_gets_an_id_that_exists_at_stripe(api: TestClient, app: dict[str, Any]) -> None:
    path = "/customers/acme/stripe"
    assert refused(api.get(path))[0] == 404
    wanted = {"type": "stripe", "id": app["id"], "stripeCustomerId": CUS_1, "app": app}
    assert api.put(path, json={"stripeCustomerId": CUS_1}).json() == wanted
    assert api.get(path).json() == wanted
    assert api.get("/customers/acme/apps?type=stripe").json()["items"] == [wanted]
    assert refused(api.put(path, json={"stripeCustomerId": "cus_no"})) == (
        400, "bad-customer-app",
        "customer-app stripeCustomerId cus_no is no customer of the Stripe account acct_sandbox",
    )  # fmt: skip
    assert refused(api.put("/customers/globex/stripe", json={"stripeCustomerId": CUS_1}))[:2] == (
        409, "customer-app-conflict",
    )  # fmt: skip
    both = api.put("/customers/globex/apps", json=[{"type": "stripe", "stripeCustomerId": CUS_2, "id": app["id"],
                                                    "stripeDefaultPaymentMethodId": "pm_1"}])  # fmt: skip
    assert [one["stripeDefaultPaymentMethodId"] for one in both.json()] == ["pm_1"]
    assert api.put("/customers/globex/apps", json=both.json()).json() == both.json()  # as it was read
    assert api.delete(f"/customers/globex/apps/{app['id']}").status_code == 204
    assert api.get("/customers/globex/apps").json()["totalCount"] == 0
    assert refused(api.put("/customers/globex/apps", json=[{"type": "sandbox"}]))[:2] == (
        400,
        "bad-customer-app",
    )


def test_a_meter_is_mapped_to_a_meter_that_stripe_has(
    api: TestClient, stripe: ServedSandbox, app: dict[str, Any]
) -> None:
    body = {"meterSlug": "tokens", "eventName": "tokens", "multiplier": 0.001, "dimensions": {"model": "llm"}}
    assert refused(api.post(MAPPINGS, json={**body, "eventName": "no"})) == (
        400, "bad-stripe-meter", "stripe-meter eventName no has no meter at Stripe: create it there first",
    )  # fmt: skip
    assert refused(api.post(MAPPINGS, json={**body, "valueKey": "n"}))[:2] == (400, "bad-stripe-meter")
    made = api.post(MAPPINGS, json=body)
    assert made.status_code == 201, made.text
    mapping = made.json()
    (meter,) = stripe.sandbox.account.meters.values()
    assert (mapping["stripeMeterId"], mapping["customerKey"], mapping["valueKey"]) == (
        meter.id, meter.customer_key, meter.value_key,
    )  # fmt: skip
    assert (mapping["appId"], mapping["multiplier"], mapping["window"]) == (app["id"], "0.001", "HOUR")
    path = f"{MAPPINGS}/{mapping['id']}"
    assert api.get(path).json() == mapping and api.get(MAPPINGS).json()["items"] == [mapping]
    changed = api.put(path, json={**mapping, "metadata": {"a": "b"}})
    assert changed.json()["metadata"] == {"a": "b"}, changed.text
    assert refused(api.put(path, json={**mapping, "updatedAt": None, "multiplier": "2"}))[:2] == (
        409, "stripe-meter-conflict",
    )  # fmt: skip
    assert refused(api.delete("/meters/tokens"))[:2] == (409, "meter-conflict")
    assert api.delete(path).status_code == 204
    assert "deletedAt" in api.get(path).json() and api.get(MAPPINGS).json()["items"] == []


def test_the_marketplace_lists_what_can_be_installed_and_no_oauth2(api: TestClient) -> None:
    listed = api.get("/marketplace/listings").json()["items"]
    assert [one["type"] for one in listed] == ["custom_invoicing", "sandbox", "stripe"]
    for listing in listed:
        assert api.get(f"/marketplace/listings/{listing['type']}").json() == listing
    assert refused(api.get("/marketplace/listings/other"))[0] == 404
    for path in ("oauth2", "oauth2/authorize?state=a&code=b"):
        status, reason, detail = refused(api.get(f"/marketplace/listings/stripe/install/{path}"))
        assert (status, reason) == (501, "oauth2-off") and "install/apikey" in detail


def test_without_a_public_url_the_answer_says_what_is_to_be_done_by_hand(api: TestClient) -> None:
    made = api.post(INSTALL, json={"apiKey": KEY}).json()
    id = made["app"]["id"]
    assert made["webhook"]["url"] == f"/api/v1/apps/{id}/stripe/webhook"
    assert made["webhook"]["events"][0] == "v1.billing.meter.error_report_triggered"
    assert (
        not made["app"]["hasWebhookSecret"]
        and f"webhookSecret: PUT /api/v1/apps/{id}." in made["webhook"]["hint"]
    )
    api.delete(f"{APPS}/{id}")


def test_with_a_public_url_stripe_is_asked_to_report_there(
    connected: Settings, stripe: ServedSandbox
) -> None:
    settings = connected.model_copy(update={"public_url": "https://meters.example.com/"})
    rights = ALL_RIGHTS | {"event_destination_write"}
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        for headers in ({}, {"idempotency-key": "with-webhook"}):
            stripe.sandbox.account.keys[RESTRICTED] = rights
            made = client.post(INSTALL, json={"apiKey": RESTRICTED}, headers=headers).json()
            id = made["app"]["id"]
            assert made["app"]["hasWebhookSecret"], made
            if headers:
                again = client.post(INSTALL, json={"apiKey": RESTRICTED}, headers=headers).json()
                assert again["app"] == made["app"]
            (url, secret), (same, other) = stripe.sandbox.webhooks.endpoints.values()
            wanted = f"https://meters.example.com/api/v1/apps/{id}/stripe/webhook"
            assert made["webhook"]["url"] == url == same == wanted
            sealed = client.app.state.services.definitions.body("default", "app", id)  # type: ignore[attr-defined]
            assert (
                Seal.of(SECRETS_KEY).open(sealed["sealedWebhookSecret"], place("default"))
                == f"{secret} {other}"
            )
            assert client.delete(f"{APPS}/{id}").status_code == 204
            assert stripe.sandbox.webhooks.endpoints == {}
        stripe.sandbox.account.keys[RESTRICTED] = ALL_RIGHTS
        made = client.post(INSTALL, json={"apiKey": RESTRICTED}).json()
        assert not made["app"]["hasWebhookSecret"]
        assert "'event_destination_write' permission" in made["webhook"]["hint"]
        client.delete(f"{APPS}/{made['app']['id']}")
