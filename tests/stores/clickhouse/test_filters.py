"""Filters as SQL, on each store, say what they say as a plain test."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.core.values.filters import Filter, filter_string, filter_time, matches
from pipeline.stores.clickhouse.client import ClickHouse, Parameter
from pipeline.stores.clickhouse.filters import RECEIVED, TIME, text_condition, time_condition

VALUES = [
    "", "a", "A", "ab", "aab", "a%b", "a_b", "a\\b", "a'b", "{p0:String}", "a\nb", "a\tb", "é", "É", "straße",
    "\uffff", "\U00010000", "gpt-4o", "GPT-4O", "a.b*c", "(a|b)", "[a-z]+", "$", "^", "\\N", "\x00", "a\x00b",
]  # fmt: skip
FILTERS: list[dict[str, Any]] = [
    {},
    *({"$eq": value} for value in VALUES),
    *({op: "a%b"} for op in ("$gt", "$gte", "$lt", "$lte", "$ne")),
    {"$gt": "é"},
    {"$lte": "\uffff"},
    {"$in": ["a", "a'b", "é"]},
    {"$nin": ["a", "\\N", ""]},
    {"$exists": True},
    {"$exists": False},
    *({"$like": value} for value in VALUES),
    *({"$like": value} for value in ("%", "_", "a%", "%b", "a\\%b", "%é", "__", "a_b", "%\n%", "%a%b%")),
    {"$nlike": "a%"},
    {"$ilike": "GPT-%"},
    {"$ilike": "É"},
    {"$nilike": "gpt%"},
    {"$contains": "A.B*"},
    {"$ncontains": "_"},
    {"$and": [{"$gt": "a"}, {"$nlike": "%b"}]},
    {"$or": [{"$eq": "a"}, {"$ilike": "%4o"}, {"$exists": False}]},
]


@pytest.fixture(scope="module")
def texts(store: ClickHouse) -> ClickHouse:
    namespace = ["filters"] * len(VALUES)
    zeros = [0] * len(VALUES)
    columns = {
        "namespace": namespace,
        "subject": VALUES,
        "input_offset": list(range(len(VALUES))),
        "time": zeros,
    }
    store.insert("events", columns)
    return store


@pytest.mark.parametrize("body", FILTERS, ids=str)
def test_text_as_sql(texts: ClickHouse, body: dict[str, Any]) -> None:
    filter_ = filter_string("f", body)
    parameters: dict[str, Parameter] = {"namespace": "filters"}
    condition = text_condition("subject", filter_, parameters)
    sql = "SELECT subject FROM events FINAL WHERE namespace = {namespace:String} AND " + condition
    found = {row[0] for row in texts.query(sql, parameters)}
    assert found == {value for value in VALUES if matches(filter_, value)}


def holds(filter_: Filter, at_ns: int) -> bool:
    parts = [holds(one, at_ns) for one in filter_.operand] if filter_.op in ("$and", "$or") else []
    a, b = at_ns, filter_.operand
    results = {"$eq": a == b, "": True, "$and": all(parts), "$or": any(parts)}
    if filter_.op in results:
        return results[filter_.op]
    return {"$gt": a > b, "$gte": a >= b, "$lt": a < b, "$lte": a <= b}[filter_.op]


def test_instants_as_sql(store: ClickHouse) -> None:
    dice = random.Random(3)
    times = [-(10**9), 0, 1, 10**9 - 1, 10**9, 10**9 + 1, 2**32 * 10**9 + 5]
    times += [dice.randrange(3 * 10**9) for _ in range(20)]
    columns = {
        "namespace": ["instants"] * len(times),
        "input_offset": list(range(len(times))),
        "time": [min(max(at_ns // 10**9, 0), 2**32 - 1) for at_ns in times],
        "time_ns": times,
        "received_at_ms": [at_ns // 10**6 for at_ns in times],
    }
    store.insert("events", columns)
    texts = ["1970-01-01T00:00:01Z", "1970-01-01T00:00:00.000000001Z", "1960-01-01T00:00:00Z"]
    texts += [
        "2200-01-01T00:00:00Z",
        "1970-01-01T00:00:01.5Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
    ]
    bodies: list[dict[str, Any]] = [{op: text} for op in TIME for text in texts]
    bodies += [
        {"$and": [{"$gte": texts[1]}, {"$lt": texts[4]}]},
        {"$or": [{"$lt": texts[2]}, {"$gt": texts[3]}]},
    ]
    bodies.append({})
    for body in bodies:
        filter_ = filter_time("f", body)
        for operators, exact in ((TIME, 1), (RECEIVED, 10**6)):
            parameters: dict[str, Parameter] = {"namespace": "instants"}
            condition = time_condition(operators, filter_, parameters)
            sql = (
                "SELECT input_offset FROM events FINAL WHERE namespace = {namespace:String} AND " + condition
            )
            found = {times[row[0]] for row in store.query(sql, parameters)}
            assert found == {at for at in times if holds(filter_, at // exact * exact)}, (body, exact)
