"""What meters will refuse of a request is what AGGREGATE then refuses."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.metering.event import Limits, accept
from pipeline.core.metering.extract import ExtractPlan, MeterIndex
from pipeline.core.metering.foreseen import refusals
from pipeline.core.metering.http_batch import RequestWarning, read
from pipeline.core.metering.meter import define
from pipeline.records import Event
from tests.fixtures.examples import examples
from tests.fixtures.kafka_record import read as read_accepted
from tests.fixtures.metered_events import Memory, run

NOW_MS = 1_750_000_000_000
BATCH = "application/cloudevents-batch+json"
METERS = [
    define({"slug": "bill", "eventType": "t", "aggregation": "SUM", "valueProperty": "$.tokens"}, 1),
    define({"slug": "calls", "eventType": "t", "aggregation": "COUNT"}, 2),
    define({"slug": "late", "eventType": "t", "aggregation": "MAX", "valueProperty": "$.tokens",
            "eventFrom": "2026-01-01T00:00:00Z"}, 3),
    define({"slug": "wide", "eventType": "u", "aggregation": "COUNT",
            "groupBy": {"a": "$.a", "b": "$.b", "whole": "$['c']"}}, 4),
    define({"slug": "users", "eventType": "u", "aggregation": "UNIQUE_COUNT", "valueProperty": "$.user"}, 5),
]  # fmt: skip
INDEX = MeterIndex(METERS)


def plan_of(type: str) -> ExtractPlan | None:
    return INDEX.get("default", type)


def line(id: int, data: object, type: str = "t", **members: object) -> dict[str, Any]:
    sent = {"specversion": "1.0", "id": str(id), "source": "/s", "type": type, "subject": "who", **members}
    return sent if data is ... else {**sent, "data": data}


def foreseen(events: list[dict[str, Any]]) -> list[RequestWarning]:
    return refusals(read(BATCH, [], json.dumps(events).encode(), 1 << 20), plan_of, NOW_MS)


def test_a_value_that_one_meter_refuses_is_warned_of() -> None:
    events = [line(0, {"tokens": 1}), line(1, {"tokens": "1,200"}), line(2, {"tokens": "x"}), line(3, ...)]
    assert foreseen(events) == [
        RequestWarning(
            "refused",
            "the meter bill will not count it: value cannot be parsed as a number: 1,200",
            2,
            1,
            "bill",
            "value-not-a-number",
        ),
        RequestWarning(
            "refused",
            "the meter bill will not count it: null and missing value property",
            1,
            3,
            "bill",
            "no-data",
        ),
    ]


def test_nothing_is_foreseen_where_nothing_is_refused() -> None:
    assert foreseen([]) == foreseen([line(0, {"tokens": 1}), line(1, ..., type="unknown")]) == []


VALUES = st.sampled_from(
    [1, 2.5, "7", "x", None, True, "1e400", 10**18, "0." + "0" * 30 + "1", [], "NaN", "-inf"]
)
LINES = st.lists(
    st.tuples(
        st.sampled_from(["t", "t", "u", "none"]),
        st.one_of(
            st.just(...),
            st.none(),
            st.fixed_dictionaries(
                {}, optional={"tokens": VALUES, "user": VALUES, "a": st.sampled_from(["a", "x" * 4096]),
                              "c": st.sampled_from([{"d": "y" * 4090}, 7])},
            ),
        ),
        st.sampled_from(["2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z", None]),
    ),
    max_size=12,
)  # fmt: skip


@given(LINES)
@settings(max_examples=examples(200), deadline=None)
def test_what_is_foreseen_is_what_is_refused(lines: list[tuple[str, Any, str | None]]) -> None:
    events = [
        line(place, data, type, **({} if time is None else {"time": time}))
        for place, (type, data, time) in enumerate(lines)
    ]
    found = Counter({(one.meter, one.reason): one.events for one in foreseen(events)})
    limits = Limits(horizon_s=10**9, future_limit_s=10**9)
    taken: list[Event] = [
        read_accepted(
            accept(json.dumps(one).encode(), (), "default", "events-http", 0, place, NOW_MS, limits)
        )
        for place, one in enumerate(events)
    ]
    settled = run(taken, INDEX, Memory()).settled if taken else []
    refused = Counter((one.meter, one.reason) for event in settled for one in event.refused)
    assert found == refused
    first: dict[tuple[str, str], int] = {}
    for place, event in enumerate(settled):
        for one in event.refused:
            first.setdefault((one.meter, one.reason), place)
    assert {(one.meter, one.reason): one.first for one in foreseen(events)} == first
