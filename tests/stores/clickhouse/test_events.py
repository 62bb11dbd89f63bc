"""Reading stored events: what came in with its fate, every filter, newest first, page by page, on each store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.values.filters import Filter, containing, filter_string
from pipeline.records import Event, Settled
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.events import (
    CountedBy,
    EventFilter,
    EventPosition,
    StoredEvent,
    events,
    versions,
)
from pipeline.stores.clickhouse.rows import rejected_columns, settled_columns
from tests.fixtures.counted_tenant import NS, at

NOON = at("2025-03-01T12:00:00+00:00")
DATA = b'{"big": 123456789012345678901234567890.10, "s": "\\u00e9"}'


def settled(namespace: str, offset: int, fate: Any = "counted", **others: Any) -> Settled:
    given = {
        "namespace": namespace,
        "source": "src",
        "id": f"id{offset}",
        "type": "t",
        "subject": "s",
        "time_ns": NOON + offset,
        "received_at_ms": 1_740_830_400_123,
        "input_topic": "events",
        "partition": 2,
        "offset": offset,
        "data": msgspec.Raw(DATA),
    }
    return Settled(
        Event(**given | others),
        fate,
        "why" if fate != "counted" else "",
        ["m"] if fate == "counted" else [],
        3,
    )


def refused(namespace: str, offset: int, value: bytes | None) -> tuple[bytes | None, list[Any]]:
    headers = {
        "reason": "bad-json",
        "detail": "Not JSON.",
        "namespace": namespace,
        "topic": "events",
        "partition": "2",
        "offset": str(offset),
        "received_at_ms": str(NOON // 1_000_000),
    }
    return value, [("tallymark_" + name, text.encode()) for name, text in headers.items()]


@pytest.fixture
def filled(store: ClickHouse, namespace: str) -> str:
    some = [
        settled(namespace, 1),
        settled(namespace, 2, "duplicate", subject="other"),
        settled(namespace, 3, "invalid", id="it's", source="b", type="u"),
        settled(namespace, 4, time_ns=NOON + 3600 * NS, received_at_ms=1_740_830_400_124),
    ]
    for _ in range(2):  # a replay
        store.insert("events", settled_columns(some, 1_740_830_401_000))
        store.insert(
            "events", rejected_columns([refused(namespace, 9, b'{"id": 1}\xff\0')], 1_740_830_401_000)
        )
    return namespace


def equal(**texts: str) -> dict[str, Filter]:
    return {name: Filter("$eq", text) for name, text in texts.items()}


def test_an_event_comes_back_with_every_digit(store: ClickHouse, filled: str) -> None:
    (one,) = events(store, EventFilter(filled, equal(id="id1")))
    assert one == StoredEvent(
        "id1", "src", "t", "s", NOON + 1, DATA.decode(), "", "counted", "", "", ["m"],
        1_740_830_400_123, 1_740_830_401_000, "events", 2, 1, 3, 3, [], [], 0, 0, [], [],
    )  # fmt: skip
    assert one.counted_by == [CountedBy("m", None, 0)]


def test_a_refused_record_comes_back_as_text(store: ClickHouse, filled: str) -> None:
    (one,) = events(store, EventFilter(filled, equal(fate="rejected")))
    assert (one.raw, one.data) == ('{"id": 1}\\xff\0', "")
    assert (one.reason, one.detail, one.offset) == ("bad-json", "Not JSON.", 9)


def between(from_ns: int, to_ns: int) -> Filter:
    return Filter("$and", (Filter("$gte", from_ns), Filter("$lt", to_ns)))


@pytest.mark.parametrize(
    "asked,offsets",
    [
        ({}, [4, 3, 2, 1, 9]),
        ({"limit": 2}, [4, 3]),
        ({"texts": equal(subject="other")}, [2]),
        ({"texts": equal(id="it's")}, [3]),
        ({"texts": equal(source="b")}, [3]),
        ({"texts": equal(type="u")}, [3]),
        ({"texts": equal(fate="duplicate")}, [2]),
        ({"texts": equal(fate="counted", subject="other")}, []),
        ({"texts": {"id": containing("id", "'")}}, [3]),
        ({"texts": {"id": containing("id", "%")}}, []),
        ({"texts": {"id": filter_string("id", {"$in": ["id1", "id4"]})}}, [4, 1]),
        ({"subjects": ["other", "x"]}, [2]),
        ({"subjects": []}, []),
        ({"time": Filter("$gte", NOON + 2)}, [4, 3, 2]),
        ({"time": Filter("$lt", NOON + 2)}, [1, 9]),
        ({"time": between(NOON + 1, NOON + 3)}, [2, 1]),
        ({"time": between(-1, 10**20)}, [4, 3, 2, 1, 9]),
        ({"received_at": Filter("$gt", 1_740_830_400_123_000_000)}, [4]),
        ({"received_at": Filter("$lt", 1_740_830_400_123_000_001)}, [3, 2, 1, 9]),
        ({"texts": equal(subject="' OR 1 = 1 --")}, []),
    ],
)
def test_filters(store: ClickHouse, filled: str, asked: dict[str, Any], offsets: list[int]) -> None:
    assert [one.offset for one in events(store, EventFilter(filled, **asked))] == offsets


def test_another_namespace_sees_nothing(store: ClickHouse, filled: str) -> None:
    assert events(store, EventFilter(filled + "x")) == []
    assert versions(store, filled + "x", "src", "id1") == []


def test_pages_are_the_whole_list(store: ClickHouse, namespace: str) -> None:
    """Many events of one instant, in several partitions: each stands on one page, in the order of the list."""
    some = [
        settled(namespace, offset, time_ns=NOON + offset // 7 * NS, partition=offset % 3)
        for offset in range(40)
    ]
    some.append(settled(namespace, 50, time_ns=-5))
    some.append(settled(namespace, 51, time_ns=2**32 * NS + 5))
    store.insert("events", settled_columns(some, 1))
    whole = events(store, EventFilter(namespace, limit=1000))
    assert len(whole) == 42
    after: EventPosition | None = None
    found: list[StoredEvent] = []
    while page := events(store, EventFilter(namespace, after=after, limit=9)):
        found += page
        after = page[-1].place
    assert found == whole


def test_versions_are_every_record_of_an_identity_as_they_came(store: ClickHouse, namespace: str) -> None:
    some = [
        settled(namespace, 1, id="a"),
        settled(namespace, 2, "duplicate", id="a", received_at_ms=1_740_830_400_200),
        settled(namespace, 3, "conflict", id="a", received_at_ms=1_740_830_400_150, partition=0),
        settled(namespace, 4, id="a", source="b"),
    ]
    store.insert("events", settled_columns(some, 1))
    assert [one.offset for one in versions(store, namespace, "src", "a")] == [1, 3, 2]
