"""A namespace sees its own things alone, whatever a request says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.api.operation.reconcile import only
from pipeline.core.metering.reconcile import NamespaceReport, Report
from pipeline.core.notifications.delivery import begin
from pipeline.records import Alert
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.api.scope_table import NEEDED
from tests.fixtures.api_services import bearer

Admins = dict[str, dict[str, str]]
CUSTOMER = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["s1"]}}
ENTITLEMENT = {"type": "metered", "featureKey": "f1", "usagePeriod": {"interval": "DAY"}}
BODIES: dict[str, Any] = {
    "PUT /api/v1/customers/{customerIdOrKey}": CUSTOMER,
    "POST /api/v1/customers/{customerIdOrKey}/entitlements": ENTITLEMENT,
    "POST /api/v2/customers/{customerIdOrKey}/entitlements": ENTITLEMENT,
}
WITH_ID = sorted((method, path) for method, path in NEEDED if "{" in path and "/portal/" not in path)


@pytest.fixture(scope="module")
def theirs(served: Settings, guarded: TestClient, admins: Admins) -> dict[str, list[str]]:
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
    return {
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
    }


@pytest.mark.parametrize(("method", "path"), WITH_ID, ids=lambda part: part)
def test_ids_of_another_namespace_are_not_there(
    guarded: TestClient, admins: Admins, theirs: dict[str, list[str]], method: str, path: str
) -> None:
    """As an id that nobody has: the answers differ in the id alone."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    for number in range(max(len(theirs[name]) for name in names)):
        answers = []
        for named in ("theirs", "nobody's"):
            url, said = path, []
            for name in names:
                text = theirs[name][number % len(theirs[name])]
                text = text if named == "theirs" else text[:-1] + ("Z" if text[-1] != "Z" else "Y")
                url = url.replace("{" + name + "}", text)
                said.append(text)
            body = BODIES.get(f"{method} {path}", {}) if method in ("PUT", "POST") else None
            response = guarded.request(method, f"http://testserver{url}", json=body, headers=admins["b"])
            problem = response.json()
            assert (response.status_code, problem["reason"]) == (404, "not-found"), response.text
            detail = problem["detail"]
            for text in said:
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
