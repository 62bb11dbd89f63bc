"""Hostile text in every parameter of every reading route: an answer or a refusal, never an error of ours.

None of it finds, shows or changes anything, and none reaches ClickHouse as more than a value: the answers to the
harmless questions are the same before and after, and what is asked about is a namespace of others' rows beside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from fastapi.testclient import TestClient

from pipeline.records import Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns, window_columns
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.stored_rows import NOON_S, write

TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
SECRET = "others-secret"
V2 = "http://testserver/api/v2/events"

# Quotes, SQL, JSON paths, file paths, odd characters, numbers, times, zones, patterns.
HOSTILE: list[str] = json.loads((Path(__file__).parents[1] / "cases" / "hostile.json").read_text())
HARMLESS = [
    "/meters/tokens/query?groupBy=subject,model&windowSize=MINUTE",
    "/meters/tokens/subjects",
    "/meters/tokens/group-by/model/values?from=2026-01-01",
    "/events?from=2026-01-01",
    "/events/s/0",
    "/meters",
]
QUERY = "/meters/tokens/query"


@pytest.fixture(scope="module")
def filled(api: TestClient, store: ClickHouse, decider: ControlStage) -> TestClient:
    assert api.post("/meters", json=TOKENS).status_code == 201
    write(store, [("acme", 0, "small"), ("acme", 1, "large"), ("zeta", 90, "small")])
    data = msgspec.Raw(json.dumps({"tokens": 1, "model": SECRET}).encode())
    at_ns = NOON_S * 10**9
    event = Event("others", SECRET, SECRET, "prompt", SECRET, at_ns, 1, "events", 1, 1, data)
    store.insert("events", settled_columns([Settled(event, "counted", "", ["tokens"], 1)], 1))
    window = Window("others", "tokens", 1, SECRET, {"model": SECRET}, NOON_S, "1", 1, "1", "", [], 1, 1)
    store.insert("windows", window_columns([window], 1))
    return api


def state(api: TestClient, store: ClickHouse) -> list[Any]:
    answers = [api.get(path) for path in HARMLESS]
    assert all(answer.status_code == 200 for answer in answers)
    rows = [store.query("SELECT count() FROM " + table) for table in ("events", "windows", "uniques")]
    return [answer.text for answer in answers] + [rows, store.query("SHOW TABLES")]


def urls(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every parameter of every reading route with this text."""
    segment = quote(text, safe="")
    for path in (f"/meters/{segment}/query", f"/meters/{segment}/subjects", f"/meters/{segment}"):
        yield path, {}
    yield f"/meters/tokens/group-by/{segment}/values", {}
    yield f"/events/{segment}/{segment}", {}
    yield f"/events/s/{segment}", {}
    for name in ("from", "to", "windowSize", "windowTimeZone", "subject", "groupBy", "clientId"):
        yield QUERY, {name: text}
    names = ("filterCustomerId", "filterGroupBy[model]", "advancedMeterGroupByFilters")
    for name in (*names, f"filterGroupBy[{text}]", text or "x"):
        yield QUERY, {name: text}
    for op in ("$eq", "$like", "$ilike", "$in", "$gt", text):
        yield (
            QUERY,
            {"advancedMeterGroupByFilters": json.dumps({"model": {op: [text] if op == "$in" else text}})},
        )
    yield QUERY, {"windowTimeZone": text, "from": "2026-01-01", "windowSize": "DAY"}
    for name in ("from", "to", "search"):
        yield "/meters/tokens/group-by/model/values", {name: text}
    for name in ("from", "to"):
        yield "/meters/tokens/subjects", {name: text}
    for name in (
        "id",
        "subject",
        "source",
        "type",
        "fate",
        "customerId",
        "from",
        "to",
        "ingestedAtFrom",
        "limit",
    ):
        yield "/events", {name: text} if name in ("from", "to") else {name: text, "from": "2026-01-01"}
    for name in ("filter", "cursor", "limit"):
        yield V2, {name: text}
    for name in ("id", "source", "subject", "type", "fate"):
        yield V2, {"filter": json.dumps({name: {"$contains": text}})}
    yield V2, {"filter": json.dumps({"customerId": {"$in": [text]}, "time": {"$gte": text}})}


def bodies(text: str) -> Iterator[dict[str, Any]]:
    """Every member of a query by body with this text."""
    for name in ("from", "to", "windowSize", "windowTimeZone", "clientId"):
        yield {name: text}
    for name in ("subject", "groupBy", "filterCustomerId"):
        yield {name: [text]}
    yield {"filterGroupBy": {"model": [text]}}
    yield {"filterGroupBy": {text: ["a"]}}
    yield {"advancedMeterGroupByFilters": {"model": {"$or": [{"$ne": text}, {"$nlike": text}]}}}
    yield {text: text}


# Every third pair, other ones for each text; every one of them where TALLYMARK_TESTS_ALL=1.
SHARE = 1 if os.environ.get("TALLYMARK_TESTS_ALL") == "1" else 3
PARTS = 12


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_hostile_does_anything(filled: TestClient, store: ClickHouse, part: int) -> None:
    before = state(filled, store)
    wrong: list[str] = []

    def check(answer: httpx.Response, asked: object) -> None:
        # 405: a segment that is empty makes another path.
        if answer.status_code not in (200, 400, 404, 405) or SECRET in answer.text:
            wrong.append(f"{answer.status_code} {asked!r}: {answer.text[:200]}")

    for number, text in enumerate(HOSTILE[part::PARTS]):
        for path, params in islice(urls(text), number % SHARE, None, SHARE):
            check(filled.get(path, params=params), (path, params))
        for body in islice(bodies(text), number % SHARE, None, SHARE):
            check(filled.post(QUERY, json=body), body)
    assert wrong == []
    assert state(filled, store) == before


def test_there_are_hostile_texts() -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) >= 200


def test_the_secret_is_there_to_be_found(filled: TestClient, store: ClickHouse) -> None:
    found = store.query("SELECT count() FROM events WHERE subject = {subject:String}", {"subject": SECRET})
    assert found == [(1,)]
