"""The audit log over HTTP: one entry a change, refused ones too, and a chain that shows any edit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.records import Audit
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from tests.api.scope_table import NEEDED
from tests.fixtures.api_services import bearer, new_key
from tests.fixtures.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("billing_stage")
NOT_CHANGES = {
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/meters/{idOrSlug}/query"),
    ("POST", "/api/v1/entitlements/check"),
    ("POST", "/api/v1/billing/replay"),
    ("POST", "/api/v1/apps/{appId}/stripe/webhook"),  # a report, not a change
}
IMPORT = ("POST", "/api/v1/imports")  # each of its items is a change
CHANGES = sorted(cell for cell in NEEDED if cell[0] != "GET" and cell not in {*NOT_CHANGES, IMPORT})
LISTS = {"/api/v1/meters/apply", "/api/v1/subjects", "/api/v1/customers/{customerIdOrKey}/apps"}


def entries(api: TestClient, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    answer = api.get(f"/audit?{query}", headers=headers)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(("method", "path"), CHANGES, ids=lambda part: part)
def test_a_refused_change_leaves_one_entry(
    guarded: TestClient, admins: dict[str, dict[str, str]], method: str, path: str
) -> None:
    before = entries(guarded, admins["a"])
    url = path.replace("{", "").replace("}", "")
    body: object = [{"nonsense": 1}] if path in LISTS else {"nonsense": 1}
    headers = admins["a"] | {"x-request-id": f"audit-{method}"}
    sent = {} if method == "DELETE" else {"json": body}
    response = guarded.request(method, f"http://testserver{url}", headers=headers, **sent)
    assert response.status_code in (400, 404)
    after = entries(guarded, admins["a"])
    assert after["totalCount"] == before["totalCount"] + 1 and after["chain"] == {"holds": True, "detail": ""}
    newest = after["items"][0]
    assert (newest["error"], newest["requestId"]) == (response.json()["reason"], f"audit-{method}")
    assert newest["before"] is newest["after"] is None and newest["ip"] == "testclient"


def test_what_a_route_refuses_by_itself_leaves_one_entry(
    guarded: TestClient, admins: dict[str, dict[str, str]]
) -> None:
    key = {"apiKey": "no key of Stripe"}
    response = guarded.post("/marketplace/listings/stripe/install/apikey", json=key, headers=admins["a"])
    newest = entries(guarded, admins["a"])["items"][0]
    assert (newest["kind"], newest["error"], newest["detail"]) == (
        "app.install",
        response.json()["reason"],
        response.json()["detail"],
    )
    assert "no key of Stripe" not in str(newest)


def test_a_change_leaves_one_entry_with_before_and_after(
    guarded: TestClient, served: Settings, admins: dict[str, dict[str, str]]
) -> None:
    text = new_key(served, guarded, "a", ["customers:write"])
    me, actor = bearer(text), text.split("_")[2]
    id = guarded.post("/customers", json={"key": "x", "name": "One"}, headers=me).json()["id"]
    guarded.put("/customers/x", json={"key": "x", "name": "Two"}, headers=me)
    guarded.delete("/customers/x", headers=me)
    found = entries(guarded, admins["a"], f"actor={actor}")
    assert [row["kind"] for row in found["items"]] == [
        "customer.delete",
        "customer.update",
        "customer.create",
    ]
    assert {row["name"] for row in found["items"]} == {id}
    update = found["items"][1]
    assert (update["before"]["name"], update["after"]["name"]) == ("One", "Two")
    assert entries(guarded, admins["a"], f"actor={actor}&kind=customer.update")["items"] == [update]
    assert entries(guarded, admins["a"], f"name={id}&pageSize=1&page=2")["items"] == [update]
    assert entries(guarded, admins["a"], f"actor={actor}&from={update['at']}")["totalCount"] == 2
    assert entries(guarded, admins["a"], f"actor={actor}&to={update['at']}")["totalCount"] == 1
    assert entries(guarded, admins["b"], f"actor={actor}")["totalCount"] == 0


def test_an_edit_breaks_the_chain(
    guarded: TestClient, served: Settings, admins: dict[str, dict[str, str]]
) -> None:
    """Comes last: what is written here stays."""
    newest = entries(guarded, admins["a"])["items"][0]
    forged = Audit(newest["seq"] + 1, 1, "a", "unknown", "key.create", "", "c", None, None, "", "", "", "",
                   newest["hash"], "0" * 64)  # fmt: skip
    producer = Producer(kafka.producer_config(served))
    producer.produce("audit", msgspec.json.encode(forged), partition=0)
    assert producer.flush(PATIENCE_S) == 0
    chain = entries(guarded, admins["a"])["chain"]
    assert chain["holds"] is False and str(forged.seq) in chain["detail"]
