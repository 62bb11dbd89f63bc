"""What meters refuse shows over HTTP: in lists, filters, the page of an event, warnings and status; by meter id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter, define
from pipeline.records import Counts, Event
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns, unique_columns, window_columns
from pipeline.stores.kafka import client as kafka
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.stored_rows import NOON_S

V2 = "http://testserver/api/v2/events"
NOON = "2026-01-01T12:00:00Z"
BILL: dict[str, Any] = {
    "slug": "bill", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
}  # fmt: skip
CALLS = {"slug": "calls", "eventType": "prompt", "aggregation": "COUNT"}
WHY = "value cannot be parsed as a number: 1,200"


class Flow:
    """Counts events by the meters that the API shows, and stores what comes of it as the sink does."""

    def __init__(self, api: TestClient, store: ClickHouse, decider: ControlStage) -> None:
        self._api, self._store, self._decider = api, store, decider
        self._offset = 0
        self._table: dict[bytes, bytes] = {}
        self.counts: dict[str, int] = {}

    def send(self, data: Sequence[object], type: str = "prompt", meters: Sequence[Meter] = ()) -> None:
        events = []
        for one in data:
            self._offset += 1
            at_ns = NOON_S * 10**9 + self._offset
            raw = msgspec.Raw(json.dumps(one).encode())
            events.append(
                Event(
                    "default", "s", f"e{self._offset}", type, "acme", at_ns, 1, "events", 0, self._offset, raw
                )
            )
        index = MeterIndex(meters)
        outcome = aggregate(events, self._offset, index, self, 0, self._decider.revision)
        for name, number in outcome.counts["default"].items():
            self.counts[name] = self.counts.get(name, 0) + number
        self._store.insert("events", settled_columns(outcome.settled, 1))
        self._store.insert("uniques", unique_columns(outcome.windows))
        self._store.insert("windows", window_columns(outcome.windows, 1))

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self._table.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self._table[key] = value

    def delete(self, key: bytes) -> None:
        self._table.pop(key, None)


@pytest.fixture(scope="module")
def flow(api: TestClient, store: ClickHouse, decider: ControlStage) -> Flow:
    """e1: counted by both meters. e2: refused by bill. e3: refused, null. e4: a type that only bill2 wants."""
    for body in (BILL, CALLS, {**BILL, "slug": "bill2", "eventType": "other"}):
        assert api.post("/meters", json=body).status_code == 201
    flow = Flow(api, store, decider)
    flow.send(
        [{"tokens": 5}, {"tokens": "1,200"}, {"tokens": None}], meters=[define(BILL, 1), define(CALLS, 2)]
    )
    flow.send([{}], "other", [define({**BILL, "slug": "bill2", "eventType": "other"}, 3)])
    return flow


def rows(api: TestClient, query: str) -> list[dict[str, Any]]:
    response = api.get(f"/events?from={NOON}&{query}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


def ids(found: Sequence[dict[str, Any]]) -> list[str]:
    return [row["event"]["id"] for row in found]


@pytest.mark.usefixtures("flow")
def test_an_event_that_one_meter_refused_says_so_though_it_is_counted(api: TestClient) -> None:
    (row,) = [one for one in rows(api, "") if one["event"]["id"] == "e2"]
    assert (row["fate"], row["meters"]) == ("counted", ["calls"])
    assert row["refusedBy"] == [{"meter": "bill", "reason": "value-not-a-number", "detail": WHY}]
    assert row["validationError"] == row["reason"] == f"bill: {WHY}"
    page = api.get("/events/s/e2").json()
    assert page["refusedBy"] == row["refusedBy"]
    assert [(one["meter"], one["windowCount"]) for one in page["windows"]] == [("calls", 3)]
    whole = api.get("/events/s/e1").json()
    assert "refusedBy" not in whole and "validationError" not in whole


@pytest.mark.usefixtures("flow")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("meter=bill", ["e1"]),
        ("meter=calls", ["e3", "e2", "e1"]),
        ("meter=bill&refused=true", ["e3", "e2"]),
        ("meter=bill&refused=false", ["e4", "e1"]),
        ("meter=bill2&refused=true", ["e4"]),
        ("meter=calls&refused=true", []),
        ("refused=true", ["e4", "e3", "e2"]),
        ("refused=false", ["e1"]),
        ("refused=true&fate=invalid", ["e4"]),
    ],
)
def test_events_by_meter(api: TestClient, query: str, expected: list[str]) -> None:
    assert ids(rows(api, query)) == expected


@pytest.mark.usefixtures("flow")
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"meter": {"$eq": "bill"}}, ["e1"]),
        ({"meter": {"$in": ["bill", "calls"]}, "refused": {"$exists": True}}, ["e3", "e2"]),
        ({"meter": {"$in": ["calls"]}, "refused": {"$exists": False}, "type": {"$eq": "prompt"}}, ["e3", "e2", "e1"]),
        ({"refused": {"$eq": "value-null"}}, ["e3"]),
        ({"refused": {"$in": ["value-null", "value-missing"]}}, ["e4", "e3"]),
        ({"meter": {"$eq": "bill2"}, "refused": {"$in": ["value-null", "value-missing"]}}, ["e4"]),
        ({"refused": {}, "meter": {}}, ["e4", "e3", "e2", "e1"]),
    ],
)  # fmt: skip
def test_events_by_meter_and_reason(api: TestClient, filter: dict[str, Any], expected: list[str]) -> None:
    response = api.get(V2, params={"filter": json.dumps(filter)})
    assert response.status_code == 200, response.text
    assert ids(response.json()["items"]) == expected


@pytest.mark.usefixtures("flow")
@pytest.mark.parametrize(
    ("filter", "status"),
    [
        ({"meter": {"$eq": "none"}}, 404),
        ({"meter": {"$like": "b%"}}, 400),
        ({"meter": "bill"}, 400),
        ({"refused": True}, 400),
        ({"refused": {"$eq": "because"}}, 400),
        ({"refused": {"$ne": "value-null"}}, 400),
        ({"refused": {"$exists": "yes"}}, 400),
    ],
)
def test_wrong_filters(api: TestClient, filter: dict[str, Any], status: int) -> None:
    assert api.get(V2, params={"filter": json.dumps(filter)}).status_code == status


@pytest.mark.usefixtures("flow")
def test_a_sender_is_warned_of_what_a_meter_will_refuse(api: TestClient) -> None:
    line = {"specversion": "1.0", "source": "/w", "type": "prompt", "subject": "who"}
    events = [
        {**line, "id": f"w{n}", "data": {"tokens": value}} for n, value in enumerate([1, "1,200", "1,200"])
    ]
    content = json.dumps(events).encode()
    headers = {"content-type": "application/cloudevents-batch+json"}
    warning = {
        "code": "refused",
        "detail": f"the meter bill will not count it: {WHY}",
        "events": 2,
        "first": 1,
        "meter": "bill",
        "reason": "value-not-a-number",
    }
    answer = api.post("/events", content=content, headers=headers)
    assert answer.status_code == 204 and json.loads(answer.headers["tallymark-warnings"]) == [warning]
    full = api.post("/events", content=content, headers={**headers, "prefer": "return=representation"})
    assert full.json() == {"accepted": 3, "warnings": [warning]}
    good = api.post("/events", content=json.dumps(events[:1]).encode(), headers=headers)
    assert good.status_code == 204 and "tallymark-warnings" not in good.headers


def publish(settings: Settings, stage: str, names: dict[str, int]) -> None:
    producer = Producer(kafka.producer_config(settings))
    record = Counts(stage, "in", 0, 0, "id", {"default": names})
    producer.produce("counts", msgspec.json.encode(record), f"{stage}/in/0")
    assert producer.flush(PATIENCE_S) == 0


def test_reconcile_and_status_show_what_each_meter_refused(
    api: TestClient, served: Settings, flow: Flow
) -> None:
    read = flow.counts["read"]
    publish(served, "ingest", {"read": read, "accepted": read})
    publish(served, "dedupe", {"read": read, "unique": read})
    publish(served, "aggregate", flow.counts)
    # What the test of warnings has sent is never counted here, so nothing gets quiet: stored rows are not compared.
    (found,) = api.get("/reconcile?wait_s=0.2").json()["namespaces"]
    assert found["meters"] == [
        {"meter": "bill", "meter_id": 1, "counted": 1, "refused": {"value-not-a-number": 1, "value-null": 1}},
        {"meter": "bill2", "meter_id": 3, "counted": 0, "refused": {"value-missing": 1}},
        {"meter": "calls", "meter_id": 2, "counted": 3, "refused": {}},
    ]
    assert api.get("/status").json()["refused"] == [
        {"namespace": "default", "meter": "bill", "meterId": 1, "counted": 1,
         "refused": {"value-not-a-number": 1, "value-null": 1}},
        {"namespace": "default", "meter": "bill2", "meterId": 3, "counted": 0, "refused": {"value-missing": 1}},
    ]  # fmt: skip


def test_a_slug_made_again_inherits_nothing(api: TestClient, flow: Flow, decider: ControlStage) -> None:
    assert api.delete("/meters/bill").status_code == 204
    (gone,) = [one for one in rows(api, "") if one["event"]["id"] == "e1"]
    assert (gone["meters"], gone["deletedMeters"]) == (["calls"], ["bill"])
    assert api.get(f"/events?from={NOON}&meter=bill").status_code == 404
    assert api.post("/meters", json={**BILL, "valueProperty": "$.other"}).status_code == 201
    found = {one["event"]["id"]: one for one in rows(api, "")}
    assert (found["e1"]["meters"], found["e1"]["deletedMeters"]) == (["calls"], ["bill"])
    assert found["e2"]["refusedBy"] == [
        {"meter": "bill", "reason": "value-not-a-number", "detail": WHY, "deleted": True}
    ]
    assert "validationError" not in found["e2"]
    assert found["e2"]["reason"] == f"bill (deleted): {WHY}"
    assert rows(api, "meter=bill") == rows(api, "meter=bill&refused=true") == []
    page = api.get("/events/s/e1").json()
    assert [(one["meter"], "deleted" in one) for one in page["windows"]] == [("bill", True), ("calls", False)]
    flow.send([{"other": 1, "tokens": "x"}, {"tokens": 1}], meters=[
        define({**BILL, "valueProperty": "$.other"}, decider.revision), define(CALLS, 2)
    ])  # fmt: skip
    assert (ids(rows(api, "meter=bill")), ids(rows(api, "meter=bill&refused=true"))) == (["e5"], ["e6"])
    assert api.get("/meters/bill/query").json()["data"][0]["count"] == 1
    assert [row for row in api.get("/status").json()["refused"] if row["meter"] == "bill"] == []


def test_the_page_of_an_event_has_the_dimensions_of_its_time(
    api: TestClient, flow: Flow, decider: ControlStage
) -> None:
    body = {"slug": "split", "eventType": "split", "aggregation": "SUM", "valueProperty": "$.v"}
    assert api.post("/meters", json=body).status_code == 201
    first = define(body, decider.revision)
    flow.send([{"v": 5, "plan": "pro"}], "split", [first])
    changed = api.put("/meters/split", json={"groupBy": {"plan": "$.plan"}})
    assert changed.status_code == 200 and "earlierGroupBy" not in changed.json()
    flow.send(
        [{"v": 7, "plan": "pro"}], "split", [define({**body, "groupBy": {"plan": "$.plan"}}, first.meter_id)]
    )
    windows = [api.get(f"/events/s/{id}").json()["windows"][0] for id in ("e7", "e8")]
    assert [(one["groupBy"], one["value"], one["windowValue"], one["windowCount"]) for one in windows] == [
        ({}, 5, 5, 1),
        ({"plan": "pro"}, 7, 7, 1),
    ]
    query = "/meters/split/query?groupBy=plan"
    for span in (f"from={NOON}&to=2026-01-01T12:01:00Z", f"from={NOON}&to=2026-01-01T12:00:59Z"):
        found = [(row["groupBy"], row["value"]) for row in api.get(f"{query}&{span}").json()["data"]]
        assert found == [({"plan": ""}, 5), ({"plan": "pro"}, 7)]
    assert api.put("/meters/split", json={"groupBy": {}}).status_code == 200
    assert api.get("/events/s/e8").json()["windows"][0]["groupBy"] == {"plan": "pro"}
