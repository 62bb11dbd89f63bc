"""INGEST on `events-http`: a record holds a request's events, and each has its own place, fate and count."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents import ingest
from pipeline.core.metering.event import Limits
from pipeline.core.metering.http_batch import MAX_EVENTS, NAMESPACE_HEADER, NO_NAMESPACE, TOPIC
from pipeline.engine.chunk import Chunk
from tests.agents.test_ingest import PARTITIONS, events, line
from tests.fixtures.fake_transaction import FakeRecord, FakeTransactions

ACME = ((NAMESPACE_HEADER, b"acme"),)


def request(offset: int, *items: bytes, namespace: bytes = b"acme") -> FakeRecord:
    return FakeRecord(offset, b"[" + b",".join(items) + b"]", headers=((NAMESPACE_HEADER, namespace),))


def run(records: Sequence[FakeRecord], counted_offset: int = -1) -> FakeTransactions:
    chunk = Chunk(TOPIC, 2, records[0].offset, records[-1].offset + 1, records, 1)
    working = FakeTransactions(chunk, counted_offset=counted_offset)
    ingest.fill_from_http(working.transaction, PARTITIONS, Limits())
    return working


def test_each_event_of_a_request_has_a_place_and_the_namespace_of_the_record() -> None:
    working = run([request(7, line("1"), line("2")), request(9, line("3"), namespace=b"other")])
    found = sorted(events(working.to("events-accepted")), key=lambda event: event.offset)
    assert [(event.id, event.namespace, event.offset) for event in found] == [
        ("1", "acme", 7 * MAX_EVENTS),
        ("2", "acme", 7 * MAX_EVENTS + 1),
        ("3", "other", 9 * MAX_EVENTS),
    ]
    assert {(event.input_topic, event.partition) for event in found} == {(TOPIC, 2)}
    assert working.counts == {"acme": {"read": 2, "accepted": 2}, "other": {"read": 1, "accepted": 1}}
    assert working.events == 3


def test_an_event_that_only_the_brokers_clock_refuses_is_dead_lettered_alone() -> None:
    late = line("late", time="2001-01-01T00:00:00Z")
    working = run([request(3, line("1"), late, line("2"))])
    assert [event.id for event in events(working.to("events-accepted"))] in (["1", "2"], ["2", "1"])
    (letter,) = working.to("rejected")
    texts = dict(letter.headers)
    assert (letter.value, texts["tallymark_reason"]) == (late, b"beyond-horizon")
    assert (texts["tallymark_namespace"], texts["tallymark_topic"]) == (b"acme", TOPIC.encode())
    assert texts["tallymark_offset"] == str(3 * MAX_EVENTS + 1).encode()
    assert working.counts["acme"] == {"read": 3, "accepted": 2, "rejected:beyond-horizon": 1}


@pytest.mark.parametrize(
    ("record", "namespace", "reason"),
    [
        (FakeRecord(4, b"[]"), NO_NAMESPACE, "no-namespace"),
        (FakeRecord(4, b"[]", headers=((NAMESPACE_HEADER, b""),)), NO_NAMESPACE, "no-namespace"),
        (FakeRecord(4, b"[]", headers=((NAMESPACE_HEADER, None),)), NO_NAMESPACE, "no-namespace"),
        (FakeRecord(4, b"[]", headers=((NAMESPACE_HEADER, b"\xff"),)), NO_NAMESPACE, "no-namespace"),
        (FakeRecord(4, b"[]", headers=(*ACME, *ACME)), NO_NAMESPACE, "no-namespace"),
        (FakeRecord(4, None, headers=ACME), "acme", "bad-json"),
        (FakeRecord(4, b"{}", headers=ACME), "acme", "not-an-array"),
        (FakeRecord(4, b"[1,", headers=ACME), "acme", "bad-json"),
        (FakeRecord(4, json.dumps([1] * 1001).encode(), headers=ACME), "acme", "too-many-events"),
    ],
)
def test_a_record_that_the_api_never_writes(record: FakeRecord, namespace: str, reason: str) -> None:
    working = run([record])
    (letter,) = working.to("rejected")
    assert letter.value == record.value
    assert dict(letter.headers)["tallymark_reason"] == reason.encode()
    assert dict(letter.headers)["tallymark_offset"] == str(4 * MAX_EVENTS).encode()
    assert working.counts == {namespace: {"read": 1, f"rejected:{reason}": 1}}


@given(
    requests=st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=6),
    counted=st.integers(-1, 6),
)
def test_a_replay_sends_the_same_and_counts_only_what_was_not_counted(
    requests: list[list[bool]], counted: int
) -> None:
    records = [
        request(offset, *(line(f"{offset}/{place}") if good else b"5" for place, good in enumerate(items)))
        for offset, items in enumerate(requests)
    ]
    first, again = run(records), run(records, counted_offset=counted)
    assert again.sent == first.sent
    left = [good for items in requests[counted + 1 :] for good in items]
    names = again.counts.get("acme", {})
    assert names.get("read", 0) == len(left)
    assert names.get("accepted", 0) == sum(left)
    assert names.get("rejected:not-an-object", 0) == len(left) - sum(left)


def test_places_never_meet() -> None:
    full = [line(str(number)) for number in range(MAX_EVENTS)]
    found = events(run([request(0, *full), request(1, line("next"))]).to("events-accepted"))
    assert sorted(event.offset for event in found) == list(range(MAX_EVENTS + 1))
