"""Imports over HTTP: each item is decided by itself, in order, and a repeat of the request changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.control_stage import ControlStage

PERIOD = {"interval": "MONTH"}


@pytest.fixture(scope="module")
def api(served: Settings, decider: ControlStage) -> Iterator[TestClient]:
    with TestClient(create_app(served), base_url="http://testserver/api/v1") as client:
        assert client.post(
            "/meters", json={"slug": "tokens", "eventType": "x", "aggregation": "COUNT"}
        ).is_success
        assert client.post("/features", json={"key": "tokens", "name": "T", "meterSlug": "tokens"}).is_success
        yield client


@pytest.fixture
def key() -> str:
    """Of a customer that does not exist yet."""
    return f"c-{uuid.uuid4().hex[:8]}"


def items(key: str) -> list[dict[str, Any]]:
    """A customer that names a subject, is entitled and has a grant: each needs the one before it."""
    return [
        {"subject": {"key": f"{key}-prod", "displayName": "Production"}},
        {"customer": {"key": key, "name": "A", "usageAttribution": {"subjectKeys": [f"{key}-prod"]}}},
        {"entitlement": {"customerId": key, "type": "metered", "featureKey": "tokens", "usagePeriod": PERIOD}},
        {"grant": {"customerId": key, "entitlementId": "tokens", "amount": "7.5"}},
    ]  # fmt: skip


def send(api: TestClient, items: list[Any], **headers: str) -> dict[str, Any]:
    response = api.post("/imports", json=items, headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def grants(api: TestClient, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(
        f"http://testserver/api/v2/customers/{key}/entitlements/tokens/grants"
    ).json()["items"]
    return found


def test_items_are_applied_in_their_order(api: TestClient, key: str) -> None:
    assert send(api, items(key)) == {"applied": 4, "refused": []}
    assert api.get(f"/customers/{key}").json()["usageAttribution"]["subjectKeys"] == [f"{key}-prod"]
    assert api.get(f"/subjects/{key}-prod").json()["displayName"] == "Production"
    [grant] = grants(api, key)
    assert (grant["amount"], grant["maxRolloverAmount"]) == (7.5, 7.5)


def test_a_refused_item_stops_no_other(api: TestClient, key: str) -> None:
    sent = [*items(key), {"customer": {"key": key, "name": "again"}}, {"plan": {}}, 7, {"grant": {"amount": 1}},
            {"subject": {"key": f"{key}-test"}}]  # fmt: skip
    answer = send(api, sent)
    assert answer["applied"] == 5
    assert [(one["index"], one["reason"], one.get("kind")) for one in answer["refused"]] == [
        (4, "customer-conflict", "customer"),
        (5, "bad-import", "plan"),
        (6, "bad-import", None),
        (7, "bad-grant", "grant"),
    ]
    assert all(one["detail"] for one in answer["refused"])
    assert api.get(f"/subjects/{key}-test").is_success


def test_a_repeat_under_its_key_applies_nothing_twice(api: TestClient, key: str) -> None:
    sent, once = items(key), uuid.uuid4().hex
    first = send(api, sent, **{"Idempotency-Key": once})
    assert first == send(api, sent, **{"Idempotency-Key": once}) == {"applied": 4, "refused": []}
    assert len(grants(api, key)) == 1


def test_another_item_under_a_used_key_is_refused(api: TestClient, key: str) -> None:
    once = {"Idempotency-Key": uuid.uuid4().hex}
    first, second, other = ({"subject": {"key": key + end}} for end in "abc")
    send(api, [first, second], **once)
    [refused] = send(api, [first, other], **once)["refused"]
    assert (refused["index"], refused["reason"]) == (1, "idempotency-key-reused")
    assert api.get(f"/subjects/{key}c").status_code == 404


def test_another_import_under_a_used_key_is_refused_as_a_whole(api: TestClient, key: str) -> None:
    once = {"Idempotency-Key": uuid.uuid4().hex}
    send(api, [{"subject": {"key": key}}], **once)
    response = api.post("/imports", json=[{"subject": {"key": key + "2"}}], headers=once)
    assert (response.status_code, response.json()["reason"]) == (422, "idempotency-key-reused")


def test_without_a_key_the_same_item_is_another_one(api: TestClient, key: str) -> None:
    send(api, items(key))
    assert send(api, items(key)[3:])["applied"] == 1
    assert len(grants(api, key)) == 2


def test_more_than_a_thousand_items_are_refused_as_a_whole(api: TestClient, key: str) -> None:
    response = api.post("/imports", json=[{"subject": {"key": key}}] * 1001)
    assert (response.status_code, response.json()["reason"]) == (400, "too-many-items")
    assert api.get(f"/subjects/{key}").status_code == 404


def test_a_thousand_items_are_one_request(api: TestClient, key: str) -> None:
    answer = send(api, [{"customer": {"key": f"{key}-{number}", "name": "A"}} for number in range(1000)])
    assert answer == {"applied": 1000, "refused": []}


def test_nothing_to_import_is_no_mistake(api: TestClient) -> None:
    assert send(api, []) == {"applied": 0, "refused": []}
