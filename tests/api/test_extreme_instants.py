"""Instants at both ends of the calendar, in every place that takes one: an answer or a refusal, never a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.control_stage import ControlStage

BEYOND = ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000000001+00:01", "9999-12-31T23:59:59-14:00",
          "9999-12-31T23:59:59.999999999-00:01", "0001-01-01T13:59:59+14:00")  # fmt: skip
WITHIN = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00+14:00",
          "9999-12-31T23:59:59.999999999Z",
          "9999-12-31T09:59:59-14:00", "9999-12-31T23:59:59+14:00", "0001-01-01", "9999-12-31", "1677-09-21T00:12:43Z",
          "2262-04-11T23:47:17Z", "1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z")  # fmt: skip
METER = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
         "groupBy": {"model": "$.model"}}  # fmt: skip
NAMES = {"from", "to", "time", "ingestedAtFrom", "ingestedAtTo"}
CUSTOMER = "/customers/acme/entitlements"


@pytest.fixture(scope="module")
def client(served: Settings, decider: ControlStage) -> Iterator[TestClient]:
    app = create_app(served)
    with TestClient(app, base_url="http://testserver", raise_server_exceptions=False) as client:
        for path, body in {
            "/meters": METER,
            "/customers": {"key": "acme", "name": "A", "usageAttribution": {"subjectKeys": ["ann"]}},
            "/features": {"key": "f", "name": "F", "meterSlug": "tokens"},
            CUSTOMER: {"type": "metered", "featureKey": "f", "usagePeriod": {"interval": "MONTH"}},
        }.items():
            answer = client.post("/api/v1" + path, json=body)
            assert answer.status_code == 201, answer.text
        yield client


def parameters(client: TestClient) -> Iterator[tuple[str, str]]:
    """Every path that is read, and each parameter of it that is an instant."""
    names = {"meterSlug": "tokens", "idOrSlug": "tokens", "customerIdOrKey": "acme", "subjectIdOrKey": "ann",
             "entitlementIdOrFeatureKey": "f", "key": "model"}  # fmt: skip
    for path, item in client.get("/openapi.json").json()["paths"].items():
        for parameter in item.get("get", {}).get("parameters", []):
            if parameter["in"] == "query" and parameter["name"] in NAMES and "/portal/" not in path:
                filled = path
                for name, value in names.items():
                    filled = filled.replace("{" + name + "}", value)
                yield filled, parameter["name"]


def test_parameters(client: TestClient) -> None:
    asked = 0
    for path, name in parameters(client):
        for text in (*BEYOND, *WITHIN):
            for more in ({}, {"windowSize": "MONTH", "windowTimeZone": "Asia/Tokyo"}):
                answer = client.get(path, params={name: text, **more})
                assert answer.status_code < 500, (path, name, text, answer.text)
                if text in BEYOND and not more:
                    assert answer.status_code == 400, (path, name, text, answer.text)
                    assert "outside of the years 1 to 9999" in answer.json()["detail"]
                asked += 1
    assert asked > 200


def test_filters_and_queries_in_a_body(client: TestClient) -> None:
    for text in (*BEYOND, *WITHIN):
        for name in ("time", "ingestedAt"):
            asked = {"filter": json.dumps({name: {"$gte": text}})}
            answer = client.get("/api/v2/events", params=asked)
            assert answer.status_code == (400 if text in BEYOND else answer.status_code) < 500, (
                text,
                answer.text,
            )
        for size in ("MINUTE", "DAY", None):
            body = {"from": text, "windowSize": size, "windowTimeZone": "Pacific/Kiritimati"}
            answer = client.post("/api/v1/meters/tokens/query", json=body)
            assert answer.status_code == (400 if text in BEYOND else answer.status_code) < 500, (
                text,
                answer.text,
            )


BODIES: dict[str, dict[str, Any]] = {
    "/meters": {**METER, "slug": "later", "eventFrom": "AT"},
    CUSTOMER: {"type": "metered", "featureKey": "f", "usagePeriod": {"interval": "MONTH", "anchor": "AT"}},
    CUSTOMER + "?": {"type": "metered", "featureKey": "f", "measureUsageFrom": "AT",
                     "usagePeriod": {"interval": "P1Y", "timeZone": "Asia/Tokyo"}},
    CUSTOMER + "/f/grants": {"amount": 1, "effectiveAt": "AT", "expiration": {"duration": "YEAR", "count": 1}},
    CUSTOMER + "/f/grants?": {"amount": 1, "effectiveAt": "2030-01-01T00:00:00Z",
                              "recurrence": {"interval": "DAY", "anchor": "AT"}},
    CUSTOMER + "/f/reset": {"effectiveAt": "AT"},
    "/keys": {"name": "k", "scopes": ["query"], "expiresAt": "AT"},
}  # fmt: skip


@pytest.mark.parametrize("path", BODIES)
def test_bodies(client: TestClient, path: str) -> None:
    for text in (*BEYOND, *WITHIN):
        body = json.loads(json.dumps(BODIES[path]).replace("AT", text))
        answer = client.post("/api/v1" + path.rstrip("?"), json=body)
        assert answer.status_code < 500, (text, answer.text)
        assert text not in BEYOND or answer.status_code == 400, (text, answer.text)


def test_after_all_of_it_everything_can_be_read(client: TestClient) -> None:
    for path in ("/meters", CUSTOMER, CUSTOMER + "/f/grants", "/keys", CUSTOMER + "/f/history"):
        assert client.get("/api/v1" + path).status_code == 200, path
