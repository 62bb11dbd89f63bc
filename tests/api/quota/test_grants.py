"""Grants over HTTP: given, listed, voided."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.core.values import timestamp
from tests.fixtures.control_stage import ControlStage

V2 = "http://testserver/api/v2"
PATHS = ("/customers/acme/entitlements/f1/grants", V2 + "/customers/acme/entitlements/f1/grants",
         "/subjects/prod/entitlements/f1/grants")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def entitled(api: TestClient, decider: ControlStage) -> str:
    """The id of an entitlement that holds since yesterday's period began."""
    for path, body in (
        ("/meters", {"slug": "calls", "eventType": "x", "aggregation": "COUNT"}),
        ("/features", {"key": "f1", "name": "F", "meterSlug": "calls"}),
        ("/customers", {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["prod"]}}),
    ):
        assert api.post(path, json=body).status_code == 201
    start = timestamp.text_of((int(time.time()) // 60 * 60 - 7200) * 1000)
    wanted = {"type": "metered", "featureKey": "f1", "measureUsageFrom": start,
              "usagePeriod": {"interval": "DAY", "anchor": start}}  # fmt: skip
    made = api.post("/customers/acme/entitlements", json=wanted)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def rows(response: Any) -> list[dict[str, Any]]:
    found = response.json()
    return found if isinstance(found, list) else found["items"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "kept"), list(zip(PATHS, (10.5, 10.5, 0), strict=True)), ids=("v1", "v2", "subject")
)
def test_a_grant_from_creation_to_its_end(api: TestClient, entitled: str, path: str, kept: float) -> None:
    wanted = {
        "amount": 10.5,
        "priority": 2,
        "effectiveAt": timestamp.text_of(int(time.time()) // 60 * 60_000),
        "expiration": {"duration": "MONTH", "count": 2},
        "recurrence": {"interval": "WEEK"},
        "metadata": {"order": "7"},
    }
    created = api.post(path, json=wanted)
    assert created.status_code == 201, created.text
    made = created.json()
    assert made | {"recurrence": wanted["recurrence"]} == made | wanted
    assert made["entitlementId"] == entitled and made["maxRolloverAmount"] == kept
    assert made["recurrence"] == {"interval": "WEEK", "intervalISO": "P7D", "anchor": made["effectiveAt"]}
    assert made["expiresAt"] > made["nextRecurrence"] > made["effectiveAt"]
    assert made in rows(api.get(path)) and made in rows(api.get("/grants"))

    assert api.delete(f"/grants/{made['id']}").status_code == 204
    (now,) = [row for row in rows(api.get(path)) if row["id"] == made["id"]]
    assert now["voidedAt"]
    again = api.delete(f"/grants/{made['id']}")
    assert (again.status_code, again.json()["reason"]) == (409, "grant-conflict")


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"amount": 0}, "grant amount must be positive"),
        ({}, "grant amount must be positive"),
        ({"amount": 1, "priority": 256}, "grant priority must be an integer from 1 to 255"),
        (
            {"amount": 1, "effectiveAt": "2020-01-01T00:00:00Z"},
            "grant effective date is before the current usage period",
        ),
        ({"amount": "x"}, "grant amount is not valid"),
        ({"amount": -1}, "grant amount must be positive"),
        ({"amount": 1, "expiresAt": "2030-01-01T00:00:00Z"}, "grant expiresAt is written by the server"),
        ({"amount": 1, "entitlementId": "other"}, "grant entitlementId is named by the path"),
        (
            {"amount": 1, "recurrence": {"interval": "DAY", "timeZone": "localtime"}},
            "recurrence timeZone is not valid",
        ),
    ],
    ids=str,
)
def test_a_wrong_grant_is_refused(api: TestClient, wrong: dict[str, Any], detail: str) -> None:
    for path in PATHS:
        response = api.post(path, json=wrong)
        assert (response.status_code, response.json()["reason"]) == (400, "bad-grant")
        assert detail in response.json()["detail"]


def test_when_a_grant_can_be_voided(api: TestClient) -> None:
    made = api.post(PATHS[0], json={"amount": "1"}).json()
    for at in ("2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "x"):
        response = api.delete(f"/grants/{made['id']}?at={at}")
        assert (response.status_code, response.json()["reason"]) == (400, "bad-grant")
    assert api.delete(f"/grants/{made['id']}?at={made['effectiveAt']}").status_code == 204
    assert api.delete("/grants/nothing").status_code == 404


def test_grants_of_all(api: TestClient) -> None:
    made = api.post(PATHS[0], json={"amount": 3}).json()

    def has(url: str) -> bool:
        return made["id"] in [row["id"] for row in rows(api.get(url))]

    for url in ("/grants", V2 + "/grants"):
        assert has(url) and has(url + "?feature=f1") and not has(url + "?feature=nothing")
    assert has("/grants?subject=prod") and not has("/grants?subject=unknown")
    assert has(V2 + "/grants?customer=acme") and not has(V2 + "/grants?customer=unknown")
    assert api.get("/grants?page=1&pageSize=1").json()["pageSize"] == 1
    assert len(api.get("/grants?limit=1").json()) == 1


def test_grants_of_a_deleted_entitlement_are_listed_where_they_are_asked_for(api: TestClient) -> None:
    assert api.post("/features", json={"key": "f2", "name": "F", "meterSlug": "calls"}).status_code == 201
    wanted = {
        "type": "metered", "featureKey": "f2", "usagePeriod": {"interval": "DAY"}, "grants": [{"amount": 3}],
    }  # fmt: skip
    id = api.post("/customers/acme/entitlements", json=wanted).json()["id"]
    lists = (
        "/grants", V2 + "/grants", f"/customers/acme/entitlements/{id}/grants",
        f"{V2}/customers/acme/entitlements/{id}/grants", f"/subjects/prod/entitlements/{id}/grants",
    )  # fmt: skip

    def of_it(url: str) -> list[dict[str, Any]]:
        found = api.get(url)
        return [] if found.status_code == 404 else [one for one in rows(found) if one["entitlementId"] == id]

    for url in lists:
        (grant,) = of_it(url)
        assert grant["amount"] == 3 and "deletedAt" not in grant
    assert api.delete(f"/customers/acme/entitlements/{id}").status_code == 204
    for url in lists:
        assert of_it(url) == []
        (shown,) = of_it(url + "?includeDeleted=true")
        assert shown["id"] == grant["id"] and shown["deletedAt"] >= shown["createdAt"]
    assert api.post("/customers", json={"key": "other", "name": "Other"}).status_code == 201
    assert of_it(f"/customers/other/entitlements/{id}/grants?includeDeleted=true") == []


def test_a_rollover_that_is_null_is_one_that_is_absent(api: TestClient) -> None:
    for path, kept in zip(PATHS, (3, 3, 0), strict=True):
        assert (
            api.post(path, json={"amount": 3, "maxRolloverAmount": None}).json()["maxRolloverAmount"] == kept
        )
        assert api.post(path, json={"amount": 3, "maxRolloverAmount": 1}).json()["maxRolloverAmount"] == 1
