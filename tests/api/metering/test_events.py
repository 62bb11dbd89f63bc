"""Stored events over HTTP: both lists, their filters and pages, and the whole story of one event."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from fastapi.testclient import TestClient

from pipeline.records import Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import rejected_columns, settled_columns, window_columns
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.stored_rows import NOON_S

V2 = "http://testserver/api/v2/events"
NOON = "2026-01-01T12:00:00Z"
SOURCE, ID = "https://a.example/b?c=%2F#d", "id/1 é"
TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
CALLS = {"slug": "calls", "eventType": "prompt", "aggregation": "COUNT"}
DATA = b'{"tokens": 1.50, "model": "small", "big": 123456789012345678901234567890.10}'


def event(offset: int, fate: Any, id: str, subject: str = "acme", **others: Any) -> Settled:
    given: dict[str, Any] = {
        "namespace": "default",
        "source": SOURCE,
        "id": id,
        "type": "prompt",
        "subject": subject,
        "time_ns": NOON_S * 10**9 + offset,
        "received_at_ms": (NOON_S + offset) * 1000,
        "input_topic": "events",
        "partition": 0,
        "offset": offset,
        "data": msgspec.Raw(DATA),
    }
    meters = ["tokens", "calls"] if fate == "counted" else []
    return Settled(Event(**given | others), fate, "" if fate == "counted" else "why", meters, 5)


@pytest.fixture(scope="module")
def filled(api: TestClient, store: ClickHouse, decider: ControlStage) -> TestClient:
    for meter in (TOKENS, CALLS):
        assert api.post("/meters", json=meter).status_code == 201
    customer = {"name": "Acme", "usageAttribution": {"subjectKeys": ["acme"]}}
    assert api.post("/customers", json=customer).status_code == 201
    some = [
        event(1, "counted", ID),
        event(2, "duplicate", ID),
        event(3, "conflict", ID, subject="zeta"),
        event(4, "counted", "plain", subject="zeta"),
        event(5, "unmetered", "other", type="reply", data=msgspec.Raw(b"null")),
        event(6, "invalid", "bad"),
    ]
    store.insert("events", settled_columns(some, (NOON_S + 10) * 1000))
    headers = {
        "reason": "bad-envelope", "detail": "No type.", "namespace": "default", "topic": "events",
        "partition": "0", "offset": "9", "received_at_ms": str((NOON_S + 9) * 1000),
    }  # fmt: skip
    raw = json.dumps({"id": ID, "source": SOURCE}).encode()
    listed = [("tallymark_" + name, text.encode()) for name, text in headers.items()]
    store.insert("events", rejected_columns([(raw, listed)], (NOON_S + 10) * 1000))
    windows = [
        Window("default", "tokens", 1, "acme", {"model": "small"}, NOON_S, "1.5", 1, "1.5", "", [], 1, 1),
        Window("default", "calls", 2, "acme", {}, NOON_S, "1", 1, "1", "", [], 1, 1),
    ]
    store.insert("windows", window_columns(windows, 1))
    return api


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["event"]["id"] for row in rows]


ALL = [ID, "bad", "other", "plain", ID, ID, ID]


def test_a_row_is_openmeters_and_more(filled: TestClient) -> None:
    (customer,) = filled.get("/customers").json()["items"]
    response = filled.get(f"/events?from={NOON}&fate=counted&subject=acme")
    assert b'"data":' + DATA in response.content
    assert response.json() == [
        {
            "event": {
                "id": ID,
                "source": SOURCE,
                "specversion": "1.0",
                "type": "prompt",
                "subject": "acme",
                "time": "2026-01-01T12:00:00.000000001Z",
                "data": json.loads(DATA),
            },
            "customerId": customer["id"],
            "ingestedAt": "2026-01-01T12:00:01Z",
            "storedAt": "2026-01-01T12:00:10Z",
            "fate": "counted",
            "reason": "",
            "detail": "",
            "meters": ["tokens", "calls"],
            "position": {"topic": "events", "partition": 0, "offset": 1},
            "raw": None,
        }
    ]
    (other,) = filled.get(f"/events?from={NOON}&type=reply").json()
    assert other["validationError"] == "no meter found for event type: reply"
    assert "data" not in other["event"]
    (refused,) = filled.get(f"/events?from={NOON}&fate=rejected").json()
    assert refused["validationError"] == "No type." and json.loads(refused["raw"])["id"] == ID


def test_filters_by_v1(filled: TestClient) -> None:
    (customer,) = filled.get("/customers").json()["items"]
    for query, expected in (
        ("", ALL),
        ("id=id/1", [ID] * 4),
        ("id=%25", []),
        ("subject=zeta", ["plain", ID]),
        ("subject=zet", []),
        ("source=s", []),
        ("type=reply", ["other"]),
        ("fate=duplicate", [ID]),
        (f"customerId={customer['id']}", ["bad", "other", ID, ID]),
        ("to=2026-01-01T12:00:00.000000003Z", [ID, ID]),
        ("ingestedAtFrom=2026-01-01T12:00:04Z&ingestedAtTo=2026-01-01T12:00:06Z", ["other", "plain"]),
        ("limit=2", ALL[:2]),
        ("clientId=me", ALL),
    ):
        assert ids(filled.get(f"/events?from={NOON}&{query}").json()) == expected, query
    assert filled.get("/events").json() == []  # of the last 72 hours
    assert ids(filled.get("/events?to=2026-01-02").json()) == ALL  # of the 72 hours before


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("fate=lost", 400),
        ("limit=0", 400),
        ("limit=101", 400),
        ("limit=x", 400),
        ("subjects=zeta", 400),
        ("from=2026-01-02&to=2026-01-01", 400),
        ("from=2026-01-02&to=2026-01-02", 400),
        ("ingestedAtFrom=2026-01-02&ingestedAtTo=2026-01-01", 400),
        ("clientId=", 400),
        ("subject=", 400),
        ("id=", 400),
        ("source=", 400),
        ("type=", 400),
        ("fate=", 400),
        ("meter=", 400),
        ("customerId=", 400),
        ("subject=a&subject=b", 400),
        ("from=2026-01-01&from=2026-01-02", 400),
        ("refused=maybe", 400),
        ("meter=none", 404),
        ("clientId=" + "a" * 37, 400),
        ("id=" + "a" * 300, 400),
        ("customerId=unknown", 404),
    ],
)
def test_what_v1_refuses(filled: TestClient, query: str, status: int) -> None:
    assert filled.get("/events?" + query).status_code == status


def by_v2(api: TestClient, filter: dict[str, Any], **params: Any) -> Any:
    response = api.get(V2, params={"filter": json.dumps(filter), **params})
    assert response.status_code == 200, response.text
    return response.json()


def test_filters_by_v2(filled: TestClient) -> None:
    (customer,) = filled.get("/customers").json()["items"]
    for filter, expected in (
        ({}, ALL),
        ({"id": {"$in": ["plain", "bad"]}}, ["bad", "plain"]),
        ({"id": {"$or": [{"$eq": "plain"}, {"$like": "b%"}]}}, ["bad", "plain"]),
        ({"source": {"$ilike": "HTTPS://%"}, "subject": {"$ne": "acme"}}, [ID, "plain", ID]),
        ({"type": {"$nlike": "pro%"}, "fate": {"$ne": "rejected"}}, ["other"]),
        ({"customerId": {"$in": [customer["id"]]}}, ["bad", "other", ID, ID]),
        ({"time": {"$gt": "2026-01-01T12:00:00.000000003Z"}}, ALL[:4]),
        ({"time": {"$and": [{"$gte": NOON}, {"$lt": "2026-01-01T12:00:00.000000003Z"}]}}, [ID, ID]),
        ({"ingestedAt": {"$lte": "2026-01-01T12:00:02Z"}, "id": None}, [ID, ID]),
    ):
        assert ids(by_v2(filled, filter)["items"]) == expected, filter
    assert ids(filled.get(V2).json()["items"]) == ALL


def test_pages_by_v2(filled: TestClient) -> None:
    found, cursor = [], ""
    for _ in range(4):
        page = by_v2(filled, {}, limit=2, **({"cursor": cursor} if cursor else {}))
        found += ids(page["items"])
        cursor = page.get("nextCursor", "")
    assert (found, cursor) == (ALL, "")


def text(cursor: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode()


@pytest.mark.parametrize(
    "params",
    [
        {"filter": "{"},
        {"filter": "[]"},
        {"filter": '{"ids": {}}'},
        {"filter": '{"id": {"$eq": 1}}'},
        {"filter": '{"id": {"$and": [{"$or": [{"$eq": "a"}]}]}}'},
        {"filter": '{"customerId": {"$eq": "a"}}'},
        {"filter": '{"time": {"$like": "2026%"}}'},
        {"cursor": "x"},
        {"cursor": "é"},
        {"cursor": ""},
        {"cursor": text([1, "a", 0])},
        {"cursor": text([2**63, "a", 0, 0])},
        {"cursor": text([1, "a", 2**32, 0])},
        {"cursor": text([1, "a", 0, -1])},
        {"cursor": text([1, "a" * 256, 0, 0])},
        {"limit": "101"},
        {"page": "2"},
    ],
)
def test_what_v2_refuses(filled: TestClient, params: dict[str, str]) -> None:
    response = filled.get(V2, params=params)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_an_unknown_customer_by_v2(filled: TestClient) -> None:
    assert filled.get(V2, params={"filter": '{"customerId": {"$in": ["x"]}}'}).status_code == 404


def path(source: str, id: str) -> str:
    return f"/events/{quote(source, safe='')}/{quote(id, safe='')}"


def test_the_story_of_one_event(filled: TestClient) -> None:
    shown = filled.get(path(SOURCE, ID)).json()
    assert (shown["fate"], shown["event"]["id"], shown["position"]["offset"]) == ("counted", ID, 1)
    minute = {"windowStart": NOON, "windowEnd": "2026-01-01T12:01:00Z", "subject": "acme"}
    assert shown["windows"] == [
        {
            "meter": "tokens",
            **minute,
            "groupBy": {"model": "small"},
            "value": 1.5,
            "windowValue": 1.5,
            "windowCount": 1,
        },
        {"meter": "calls", **minute, "groupBy": {}, "value": 1, "windowValue": 1, "windowCount": 1},
    ]
    assert [(one["fate"], one["event"]["subject"]) for one in shown["repeats"]] == [
        ("duplicate", "acme"),
        ("conflict", "zeta"),
    ]
    assert [one["reason"] for one in shown["refused"]] == ["bad-envelope"]
    invalid = filled.get(path(SOURCE, "bad")).json()
    assert (invalid["fate"], invalid["reason"], invalid["windows"]) == ("invalid", "why", [])


def test_events_that_are_not_there(filled: TestClient) -> None:
    for missing in (path("s", ID), path(SOURCE, "unknown"), path(quote(SOURCE), ID)):
        response = filled.get(missing)
        assert (response.status_code, response.json()["reason"]) == (404, "not-found")
    for unencoded in ("/events/a/b/c", "/events/https://a.example/b/1"):
        response = filled.get(unencoded)
        assert response.status_code == 404 and "sent as %2F" in response.json()["detail"]
    assert filled.get("/events/a/%ff").status_code == 400


def test_a_deleted_meter_is_named_without_a_value(filled: TestClient) -> None:
    assert filled.delete("/meters/calls").status_code == 204
    shown = filled.get(path(SOURCE, ID)).json()
    assert shown["windows"][1]["deleted"] is True and "value" not in shown["windows"][1]
    assert (shown["meters"], shown["deletedMeters"]) == (["tokens"], ["calls"])
