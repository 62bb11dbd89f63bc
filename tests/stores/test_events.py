"""Listing stored events: what came in with its fate, every filter, newest first, on each store."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.rows import rejected_columns, settled_columns
from pipeline.errors import Rejected
from pipeline.records import Event, Settled
from pipeline.stores.clickhouse import ClickHouse
from pipeline.stores.events import EventFilter, events
from tests.stores.plain import NS, at

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


def refused(
    namespace: str, offset: int, value: bytes | None, **others: str
) -> tuple[bytes | None, list[Any]]:
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
        settled(namespace, 4, time_ns=NOON + 3600 * NS),
    ]
    for _ in range(2):  # a replay
        store.insert("events", settled_columns(some, 1_740_830_401_000))
        store.insert(
            "events", rejected_columns([refused(namespace, 9, b'{"id": 1}\xff\0')], 1_740_830_401_000)
        )
    return namespace


def test_an_event_comes_back_with_every_digit(store: ClickHouse, filled: str) -> None:
    (one,) = events(store, EventFilter(filled, id="id1"))
    assert msgspec.json.encode(one["event"].pop("data")) == DATA
    assert one == {
        "event": {
            "id": "id1",
            "source": "src",
            "type": "t",
            "subject": "s",
            "time": "2025-03-01T12:00:00.000000001Z",
        },
        "raw": None,
        "fate": "counted",
        "reason": "",
        "detail": "",
        "meters": ["m"],
        "received_at": "2025-03-01T12:00:00.123Z",
        "stored_at": "2025-03-01T12:00:01Z",
        "position": {"topic": "events", "partition": 2, "offset": 1},
    }


def test_a_refused_record_comes_back_as_text(store: ClickHouse, filled: str) -> None:
    (one,) = events(store, EventFilter(filled, fate="rejected"))
    assert (one["raw"], one["event"]["data"]) == ('{"id": 1}\\xff\0', None)
    assert (one["reason"], one["detail"], one["position"]["offset"]) == ("bad-json", "Not JSON.", 9)


@pytest.mark.parametrize(
    "asked,offsets",
    [
        ({}, [4, 3, 2, 1, 9]),
        ({"limit": 2}, [4, 3]),
        ({"subject": "other"}, [2]),
        ({"id": "it's"}, [3]),
        ({"source": "b"}, [3]),
        ({"type": "u"}, [3]),
        ({"fate": "duplicate"}, [2]),
        ({"fate": "counted", "subject": "other"}, []),
        ({"from_ns": NOON + 2}, [4, 3, 2]),
        ({"to_ns": NOON + 2}, [1, 9]),
        ({"from_ns": NOON + 1, "to_ns": NOON + 3}, [2, 1]),
        ({"from_ns": -1, "to_ns": 10**20}, [4, 3, 2, 1, 9]),
        ({"subject": "' OR 1 = 1 --"}, []),
    ],
)
def test_filters(store: ClickHouse, filled: str, asked: dict[str, Any], offsets: list[int]) -> None:
    found = events(store, EventFilter(filled, **asked))
    assert [one["position"]["offset"] for one in found] == offsets


def test_another_namespace_sees_nothing(store: ClickHouse, filled: str) -> None:
    assert events(store, EventFilter(filled + "x")) == []


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_limit_out_of_range_is_rejected(store: ClickHouse, limit: int) -> None:
    with pytest.raises(Rejected):
        events(store, EventFilter("n", limit=limit))
