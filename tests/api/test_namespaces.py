"""A namespace sees its own things alone, whatever a request says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.api.operation.reconcile import only
from pipeline.core.metering.reconcile import NamespaceReport, Report
from pipeline.core.notifications.delivery import begin
from pipeline.records import Alert
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.api.billing_changes import stripe_of
from tests.api.scope_table import LISTINGS, NEEDED
from tests.fixtures.api_services import PORTAL_SECRET, bearer
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.billing_bodies import PLAIN, of_app
from tests.fixtures.catalog_bodies import ADDON, FEE, PLAN
from tests.fixtures.control_stage import ControlStage
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox
from tests.local.stripe_sandbox.test_meter_events import METER

Admins = dict[str, dict[str, str]]
CUSTOMER = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["s1"]}}
ENTITLEMENT = {"type": "metered", "featureKey": "f1", "usagePeriod": {"interval": "DAY"}}
CUSTOM = {
    "name": "Theirs",
    "billingCadence": "P1M",
    "phases": [{"key": "main", "name": "Main", "rateCards": [FEE]}],
}
LINE = {
    "name": "Fee",
    "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
    "invoiceAt": "2999-01-01T00:00:00Z",
    "rateCard": {"price": {"type": "flat", "amount": "10"}},
}
BODIES: dict[str, Any] = {
    "PUT /api/v1/customers/{customerIdOrKey}": CUSTOMER,
    "POST /api/v1/customers/{customerIdOrKey}/entitlements": ENTITLEMENT,
    "POST /api/v2/customers/{customerIdOrKey}/entitlements": ENTITLEMENT,
    "PUT /api/v1/customers/{customerIdOrKey}/apps": [],
    "PUT /api/v1/billing/profiles/{profileId}": PLAIN,
}
NOT_THERE = [(404, "not-found"), (404, "profile_not_found"), (404, "customer_not_found")]
# Listings are the same for all, and a webhook of Stripe is of the app that its path names.
OF_ALL = (LISTINGS, "/stripe/webhook", "/portal/")
WITH_ID = sorted(cell for cell in NEEDED if "{" in cell[1] and not any(part in cell[1] for part in OF_ALL))


@pytest.fixture(scope="module")
def with_stripe(served: Settings) -> Iterator[tuple[Settings, ServedSandbox]]:
    with stripe_of(served) as made:
        yield made


@pytest.fixture(scope="module")
def guarded(with_stripe: tuple[Settings, ServedSandbox], decider: ControlStage) -> Iterator[TestClient]:
    """The API that asks for keys, without one, and with a Stripe."""
    settings = with_stripe[0].model_copy(update={"auth": "on", "portal_secret": SecretStr(PORTAL_SECRET)})
    with (
        BillDesk(settings),
        TestClient(create_app(settings), base_url="http://testserver/api/v1") as client,
    ):
        yield client


@pytest.fixture(scope="module")
def theirs(
    served: Settings, guarded: TestClient, admins: Admins, with_stripe: tuple[Settings, ServedSandbox]
) -> dict[str, list[str]]:
    """What a parameter of a path can name in namespace a: ids, and keys where there are some."""
    headers = admins["a"]

    def make(path: str, body: object) -> Any:
        made = guarded.post(path, json=body, headers=headers)
        assert made.status_code in (200, 201), made.text
        return made.json()

    wanted = {
        "slug": "calls",
        "eventType": "request",
        "aggregation": "COUNT",
        "groupBy": {"dimension": "$.k"},
    }
    meter = make("/meters", wanted)
    customer = make("/customers", CUSTOMER)
    subject = make("/subjects", [{"key": "s1"}])[0]
    feature = make("/features", {"key": "f1", "name": "F", "meterSlug": "calls"})
    key = make("/keys", {"name": "k", "scopes": ["query"]})
    entitlement = make("/customers/acme/entitlements", ENTITLEMENT)
    grant = make("/customers/acme/entitlements/f1/grants", {"amount": 1})
    channel = make("/notification/channels", {"name": "c", "url": "https://a.example"})
    rule = make(
        "/notification/rules", {"type": "entitlements.reset", "name": "r", "channels": [channel["id"]]}
    )
    event = make(f"/notification/rules/{rule['id']}/test", None)
    delivery = begin(Alert(event["id"], "a", "x", rule["id"], 1, [], "{}"), channel["id"], 1, (0,))
    producer = Producer(cluster.producer_config(served))
    producer.produce("deliveries", msgspec.json.encode(delivery), delivery.id)
    producer.flush(10)
    assert guarded.get(f"/deliveries/{delivery.id}", headers=headers).status_code == 200
    bills = theirs_of_billing(make)
    with_stripe[1].sandbox.account.create_meter(METER, 0)
    mapping = make("/billing/stripe/meters", {"meterSlug": "calls", "eventName": "tokens"})
    return {
        **bills,
        "mappingId": [mapping["id"]],
        **{name: [entitlement["id"], "f1"] for name in ("entitlementIdOrFeatureKey", "entitlementId")},
        "grantId": [grant["id"]],
        "channelId": [channel["id"]],
        "ruleId": [rule["id"]],
        "eventId": [event["id"]],
        "deliveryId": [delivery.id],
        **{name: [meter["id"], "calls"] for name in ("meterIdOrSlug", "idOrSlug", "slug")},
        "customerIdOrKey": [customer["id"], "acme"],
        "subjectIdOrKey": [subject["id"], "s1"],
        "featureId": [feature["id"], "f1"],
        "featureKey": ["f1"],
        "keyId": [key["id"]],
        "key": ["dimension"],
        "source": ["some-source"],
        "id": ["event-1"],
        "currency": ["EUR"],
    }


def theirs_of_billing(make: Callable[[str, object], Any]) -> dict[str, list[str]]:
    """The catalog, the apps, the profile and the bills of one customer."""
    plan = make("/plans", {**PLAN, "phases": PLAN["phases"][:1]})
    addon = make("/addons", {**ADDON, "rateCards": []})
    assigned = make("/plans/pro/addons", {"addonId": "more", "fromPlanPhase": "trial"})
    subscription = make("/subscriptions", {"customerKey": "acme", "customPlan": CUSTOM})
    pending = make("/billing/customers/acme/invoices/pending-lines", {"currency": "EUR", "lines": [LINE]})
    custom = make("/marketplace/listings/custom_invoicing/install", {"createBillingProfile": False})["app"]
    profile = make("/billing/profiles", {**PLAIN, "apps": of_app(custom["id"])})
    app = make("/marketplace/listings/stripe/install/apikey", {"apiKey": "sk_test_theirs"})["app"]
    return {
        "appId": [app["id"]],
        "profileId": [profile["id"]],
        **{name: [pending["invoice"]["id"]] for name in ("invoiceId", "creditNoteId")},
        "lineId": [pending["lines"][0]["id"]],
        **{name: [plan["id"], "pro"] for name in ("planId", "planIdOrKey")},
        "addonId": [addon["id"], "more"],
        "planAddonId": [assigned["id"], "more"],
        "subscriptionId": [subscription["id"]],
        "subscriptionAddonId": [addon["id"]],
    }


@pytest.mark.parametrize(("method", "path"), WITH_ID, ids=lambda part: part)
def test_ids_of_another_namespace_are_not_there(
    guarded: TestClient, admins: Admins, theirs: dict[str, list[str]], method: str, path: str
) -> None:
    """As an id that does not exist: the answers differ in the id alone."""
    names = re.findall(r"\{(\w+)\}", path)
    for number in range(max(len(theirs[name]) for name in names)):
        answers = []
        for named in ("theirs", "unknown"):
            url, bodies = path, []
            for name in names:
                text = theirs[name][number % len(theirs[name])]
                text = text if named == "theirs" else text[:-1] + ("Z" if text[-1] != "Z" else "Y")
                url = url.replace("{" + name + "}", text)
                bodies.append(text)
            body = BODIES.get(f"{method} {path}", {}) if method in ("PUT", "POST", "PATCH") else None
            response = guarded.request(method, f"http://testserver{url}", json=body, headers=admins["b"])
            problem = response.json()
            assert (response.status_code, problem["reason"]) in NOT_THERE, response.text
            detail = problem["detail"]
            for text in bodies:
                detail = detail.replace(text, "*")
            answers.append(detail)
        assert answers[0] == answers[1]


def test_all_is_still_there(guarded: TestClient, admins: Admins, theirs: dict[str, list[str]]) -> None:
    for path, name in (
        ("meters", "meterIdOrSlug"),
        ("customers", "customerIdOrKey"),
        ("features", "featureId"),
    ):
        for text in theirs[name]:
            assert guarded.get(f"/{path}/{text}", headers=admins["a"]).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/meters",
        "/customers",
        "/subjects",
        "/features",
        "/portal/tokens",
        "/events",
        "/entitlements",
        "/grants",
        "/notification/channels",
        "/notification/rules",
        "/notification/events",
        "/deliveries",
    ],
)
def test_lists_show_the_own_namespace(
    guarded: TestClient, admins: Admins, theirs: dict[str, list[str]], path: str
) -> None:
    found = guarded.get(path, headers=admins["b"]).json()
    assert (found["items"] if isinstance(found, dict) else found) == []


LIES = [
    {"namespace": "a"},
    {"x-namespace": "a"},
    {"tallymark_namespace": "a"},
    {"x-tallymark-namespace": "a"},
    {"x-forwarded-host": "a.example"},
    {"host": "a"},
    {"cookie": "namespace=a"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_no_header_names_a_namespace(
    guarded: TestClient, admins: Admins, theirs: dict[str, list[str]], lie: dict[str, str]
) -> None:
    assert guarded.get("/customers/acme", headers=admins["b"] | lie).status_code == 404
    assert guarded.get("/customers", headers=admins["b"] | lie).json()["items"] == []
    assert guarded.get("/customers?namespace=a", headers=admins["b"] | lie).status_code == 400


def test_no_body_names_a_namespace(guarded: TestClient, admins: Admins) -> None:
    for path, body in (
        ("/customers", {"key": "x", "name": "X", "namespace": "a"}),
        ("/features", {"key": "x", "name": "X", "namespace": "a"}),
        ("/portal/tokens", {"subject": "x", "namespace": "a"}),
        ("/meters", {"slug": "x", "eventType": "x", "aggregation": "COUNT", "namespace": "a"}),
    ):
        guarded.post(path, json=body, headers=admins["b"])
        for row in guarded.get("/audit?pageSize=1000", headers=admins["a"]).json()["items"]:
            assert row["name"] != "x" and (row["after"] or {}).get("subject") != "x"
    for headers in (admins["a"],):
        assert guarded.get("/customers/x", headers=headers).status_code == 404
        assert guarded.get("/meters/x", headers=headers).status_code == 404


def test_the_same_names_live_side_by_side(guarded: TestClient, admins: Admins, served: Settings) -> None:
    made = guarded.post("/customers", json=CUSTOMER | {"name": "Other"}, headers=admins["b"])
    assert made.status_code == 201
    assert guarded.get("/customers/acme", headers=admins["a"]).json()["name"] == "ACME"
    assert guarded.get("/customers/acme", headers=admins["b"]).json()["name"] == "Other"


def test_a_portal_token_is_of_its_namespace(guarded: TestClient, admins: Admins, theirs: object) -> None:
    made = guarded.post("/portal/tokens", json={"subject": "s1"}, headers=admins["b"])
    asked = guarded.get("/portal/meters/calls/query", headers=bearer(made.json()["token"]))
    assert asked.status_code == 404  # the meter is a's


def test_a_report_is_on_the_own_namespace() -> None:
    a, b = (NamespaceReport(name, 1, {}, {}, 0, [f"{name} differs"]) for name in ("a", "b"))
    report = Report(False, True, [a, b], ["a differs", "b differs"])
    assert only(report, "b") == Report(False, True, [b], ["b differs"])
    assert only(report, "c") == Report(True, True, [], [])
