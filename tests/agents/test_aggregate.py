"""AGGREGATE's agent: what a chunk becomes, what a replay sends again, how records are cut, when windows leave."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.agents import aggregate, barriers
from pipeline.agents.aggregate import (
    HOUR_S,
    MOST_METERS,
    OTHER_METERS,
    REFUSED,
    Closing,
    fill,
    observe_refused,
)
from pipeline.core.metering.aggregate import FULL
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import define
from pipeline.core.metering.refusal import MeterTotal
from pipeline.core.metering.window_state import key_start_s
from pipeline.engine.packing import PACK_BYTES
from pipeline.engine.table import Overlay, Table
from pipeline.records import Event, Settled, Window
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import DictTable, FakeRecord, FakeTransactions, chunk_of

START_S = 1_704_067_200  # 2024-01-01T00:00:00Z
AGE_S = 10 * HOUR_S
REVISION = 7
NOT_A_NUMBER = "/meter/total/1/refused/value-not-a-number"
METERS = MeterIndex(
    define({"slug": slug, "eventType": "t", "aggregation": kind, **more}, place)
    for place, (slug, kind, more) in enumerate(
        [
            ("calls", "COUNT", {"groupBy": {"d": "$.d"}}),
            ("total", "SUM", {"valueProperty": "$.v"}),
            ("users", "UNIQUE_COUNT", {"valueProperty": "$.d"}),
        ]
    )
)


class Committed(dict[bytes, bytes]):
    """What engine.table.KeyedBytes holds: an overlay's changes show only once they are committed."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.items() if key >= start)[:limit]

    def overlay(self) -> Overlay:
        return Overlay(cast(Table, self))

    def commit(self, overlay: Overlay) -> None:
        for key, value in overlay.changes.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value

    def starts_s(self) -> list[int]:
        """Of all windows and members."""
        return sorted(key_start_s(key) for key in self if key < b"\xff\xfe")


def event(at_s: int = START_S, received_at_s: int | None = None, **more: object) -> Event:
    data = {"v": 1, "d": "x", **more}
    received_at_ms = 1000 * (at_s if received_at_s is None else received_at_s)
    raw = msgspec.Raw(msgspec.json.encode(data))
    return Event("default", "s", "i", "t", "a", at_s * 10**9, received_at_ms, "events", 0, 0, raw)


def run(
    records: list[list[Event]] | dict[int, list[Event]],
    table: Committed | None = None,
    counted_offset: int = -1,
    closing: Closing | None = None,
) -> FakeTransactions:
    """One chunk, committed."""
    numbered = records if isinstance(records, dict) else dict(enumerate(records))
    values = {offset: msgspec.json.encode(events) for offset, events in numbered.items()}
    table = Committed() if table is None else table
    overlay = table.overlay()
    working = FakeTransactions(
        chunk_of("events-unique", values, partition=3), cast(DictTable, overlay), counted_offset
    )
    fill(working.transaction, lambda: (METERS, REVISION), closing or Closing(AGE_S))
    table.commit(overlay)
    return working


def windows(working: FakeTransactions) -> list[Window]:
    sent = working.to("usage")
    return [window for one in sent for window in msgspec.json.decode(one.value or b"", type=list[Window])]


def settled(working: FakeTransactions) -> list[Settled]:
    sent = working.to("events-settled")
    return [each for one in sent for each in msgspec.json.decode(one.value or b"", type=list[Settled])]


def fates(working: FakeTransactions) -> list[tuple[str, str]]:
    return [(each.fate, each.reason) for each in settled(working)]


def test_a_chunk_is_one_record_a_topic() -> None:
    working = run([[event(v=1), event(v="NaN")], [], [event(v=2)]])
    assert [(sent.topic, sent.partition, sent.key) for sent in working.sent] == [
        ("events-settled", 3, None),
        ("usage", 3, None),
    ]
    assert fates(working) == [("counted", ""), ("counted", "total: value cannot be NaN"), ("counted", "")]
    assert [each.meters for each in settled(working)] == [
        ["calls", "total", "users"],
        ["calls", "users"],
        ["calls", "total", "users"],
    ]
    assert {each.revision for each in settled(working)} == {REVISION}
    assert {(w.meter, w.value, w.count, w.revision) for w in windows(working)} == {
        ("calls", "2", 2, 0), ("total", "1", 1, 0), ("users", "1", 2, 0),
        ("calls", "3", 3, 2), ("total", "3", 2, 2), ("users", "1", 3, 2),
    }  # fmt: skip
    assert working.counts == {"default": {"read": 3, "counted": 3, **of_meters(3, 2, 3), NOT_A_NUMBER: 1}}
    assert working.events == 3


def test_what_a_meter_refused_is_measured_once_it_is_committed() -> None:
    labels = ("default", "total", "value-not-a-number")
    before = refused_events(*labels)
    working = run([[event(v=1), event(v="NaN")], [event(v="x")]])
    assert refused_events(*labels) == before
    for callback in working.committed:
        callback()
    assert refused_events(*labels) == before + 2
    assert run([[event(v=1)]]).committed == []


def test_the_metric_of_refused_events_has_a_bounded_number_of_meters() -> None:
    other = ("", OTHER_METERS, "value-null")
    before = refused_events(*other)
    many = [("default", MeterTotal(f"m{place}", place, "value-null"), 1) for place in range(2 * MOST_METERS)]
    observe_refused(many)
    observe_refused(many)
    assert refused_events(*other) - before >= 2 * MOST_METERS
    named = {sample.labels["meter"] for family in REFUSED.collect() for sample in family.samples}
    assert len(named - {OTHER_METERS}) <= MOST_METERS


def refused_events(namespace: str, meter: str, reason: str) -> float:
    return float(REFUSED.labels(namespace, meter, reason)._value.get())


def of_meters(calls: int, total: int, users: int) -> dict[str, int]:
    """The names in Counts of what each meter counted."""
    counted = {
        "/meter/calls/0/counted": calls,
        "/meter/total/1/counted": total,
        "/meter/users/2/counted": users,
    }
    return {name: events for name, events in counted.items() if events}


def test_nothing_in_nothing_out() -> None:
    working = run([[]])
    assert (working.sent, working.counts, working.events) == ([], {}, 0)


def test_a_replay_sends_the_same_again_and_counts_only_what_is_not_counted() -> None:
    table = Committed()
    records = [[event(v=1), event(v="z")], [event(v=2)]]
    first = run(records, table)
    held = dict(table)
    replayed = run(records, table, counted_offset=0)
    assert table == held
    assert replayed.to("events-settled") == first.to("events-settled")
    assert replayed.counts == {"default": {"read": 1, "counted": 1, **of_meters(1, 1, 1)}}
    assert replayed.events == 3
    newest = {window.meter: window.value for window in windows(first)}
    assert {window.meter: window.value for window in windows(replayed)} == newest
    assert run(records, table, counted_offset=1).counts == {}


def test_a_full_window_stops_nothing() -> None:
    """101 events of the largest value in one minute: their sum has 39 digits."""
    table = Committed()
    working = run([[event(v="9" * 18)] * 60, [event(v="9" * 18)] * 60], table)
    assert Counter(fates(working)) == {
        ("counted", ""): 100,
        ("counted", f"total: {FULL.detail}"): 20,
    }
    assert [w.count for w in windows(working) if w.meter == "total"] == [60, 100]
    replayed = run([[event(v="9" * 18)] * 60, [event(v="9" * 18)] * 60], table)
    assert fates(replayed) == fates(working)


SIZES = st.lists(
    st.sampled_from([1, 10, 300, PACK_BYTES // 3, PACK_BYTES - 100, 2 * PACK_BYTES]), max_size=12
)


@given(SIZES)
@settings(max_examples=examples(25), deadline=None)
def test_no_record_is_too_long_and_none_is_lost(sizes: list[int]) -> None:
    events = [event(START_S + 60 * place, pad="p" * size) for place, size in enumerate(sizes)]
    working = run([[each] for each in events] or [[]])
    assert [
        msgspec.json.decode(msgspec.json.encode(each.event), type=Event) for each in settled(working)
    ] == events
    for sent in working.sent:
        value = sent.value or b""
        assert len(value) <= PACK_BYTES + 2 or len(msgspec.json.decode(value)) == 1
    lengths = [len(sent.value or b"") for sent in working.to("events-settled")]
    # Two adjacent records never fit together, or they would be one record.
    assert all(one + other > PACK_BYTES for one, other in itertools.pairwise(lengths))


def test_many_windows_are_cut_into_records() -> None:
    dimension = "\x01" * 4000
    events = [event(START_S + 60 * place, d=dimension) for place in range(600)]
    working = run([events])
    sent = working.to("usage")
    assert len(sent) >= 600 * 6 * len(dimension) // PACK_BYTES  # six bytes for each character, as JSON
    assert all(len(one.value or b"") <= PACK_BYTES + 2 for one in sent)
    kinds = Counter(window.meter for window in windows(working))
    assert kinds == {"calls": 600, "total": 600, "users": 600}


def before_s(table: Committed, closing: Closing) -> int:
    return closing.before_s(table.overlay())


def test_a_late_event_is_rejected_once_its_window_has_closed() -> None:
    table, closing = Committed(), Closing(AGE_S)
    late_s = START_S + 20 * HOUR_S - AGE_S - 1
    first = run({0: [event(late_s, START_S + 20 * HOUR_S)]}, table, closing=closing)
    assert fates(first) == [
        ("counted", "")
    ]  # it closes its own window, but only for those that come after it
    assert before_s(table, closing) == late_s + 1
    late = run({1: [event(late_s, late_s), event(late_s + 1, late_s)]}, table, closing=closing)
    assert fates(late) == [("rejected", "window-closed"), ("counted", "")]
    assert late.counts == {
        "default": {"read": 2, "rejected:window-closed": 1, "counted": 1, **of_meters(1, 1, 1)}
    }


def test_what_a_chunk_writes_and_closes_itself_leaves_with_the_next() -> None:
    table, closing = Committed(), Closing(AGE_S)
    run({0: [event(START_S, START_S + 20 * HOUR_S)]}, table, closing=closing)
    assert table.starts_s() != []
    run({1: [event(START_S + 20 * HOUR_S)]}, table, closing=closing)
    assert set(table.starts_s()) == {START_S + 20 * HOUR_S}


def test_closing_survives_the_process() -> None:
    table = Committed()
    run({0: [event(START_S), event(START_S + 40 * HOUR_S)]}, table)
    restored = Committed(table)
    assert before_s(restored, Closing(AGE_S)) == START_S + 30 * HOUR_S
    assert fates(run({1: [event(START_S)]}, restored, closing=Closing(AGE_S))) == [
        ("rejected", "window-closed")
    ]


def test_an_empty_state_has_nothing_closed() -> None:
    assert before_s(Committed(), Closing(AGE_S)) == 0
    assert fates(run([[event(0, 0)]])) == [("counted", "")]


HOURS = st.lists(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
)


@given(HOURS, st.sampled_from([1, 2, 3, 5000]), st.sets(st.integers(0, 7)))
@settings(max_examples=examples(150), deadline=None)
def test_windows_leave_exactly_when_closed(
    chunks: list[list[tuple[int, int]]], step: int, restarts: set[int]
) -> None:
    """chunks: of events at an hour, received at an hour. The closed instant only grows; what is closed leaves."""
    table, closing, closed_s, newest_s = Committed(), Closing(AGE_S), 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate, "EXPIRED_KEYS", step)
        for place, hours in enumerate(chunks):
            if place in restarts:
                closing = Closing(AGE_S)
            events = [event(START_S + at * HOUR_S, START_S + seen * HOUR_S) for at, seen in hours]
            held = table.starts_s()
            working = run({place: events}, table, closing=closing)
            assert [fate == "rejected" for fate, _ in fates(working)] == [
                START_S + at * HOUR_S < closed_s for at, _ in hours
            ]
            newest_s = max(newest_s, *(START_S + seen * HOUR_S for _, seen in hours))
            previous_s, closed_s = closed_s, before_s(table, closing)
            assert closed_s == max(previous_s, newest_s - AGE_S)
            left = Counter(held) - Counter(table.starts_s())
            assert left.total() <= step
            assert all(start_s < closed_s for start_s in left)
        open_ = [start_s for start_s in table.starts_s() if start_s >= closed_s]
        steps = len(table) // step + 2
        for place in range(steps):
            run({100 + place: [event(START_S + 99 * HOUR_S, START_S)]}, table, closing=closing)
        assert [s for s in table.starts_s() if s != START_S + 99 * HOUR_S] == open_


def test_a_swept_state_is_not_scanned_again() -> None:
    class Scanned(Committed):
        scans = 0

        def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
            self.scans += 1
            return super().scan(start, limit)

    table, closing = Scanned(), Closing(AGE_S)
    for place in range(10):
        run({place: [event(START_S + 20 * HOUR_S)]}, table, closing=closing)
    assert table.scans == 1  # with the chunk after the one that closes


def marked(
    table: Committed, records: dict[int, tuple[bytes | None, list[Event]]], revision: int = REVISION
) -> FakeTransactions:
    """One chunk of records with keys, committed."""
    overlay = table.overlay()
    chunk = chunk_of("events-unique", {o: msgspec.json.encode(events) for o, (_, events) in records.items()})
    for record, (key, _) in zip(chunk.records, records.values(), strict=True):
        cast(FakeRecord, record).key = key
    working = FakeTransactions(chunk, cast(DictTable, overlay))
    fill(working.transaction, lambda: (METERS, revision), Closing(AGE_S))
    table.commit(overlay)
    return working


def test_a_mark_is_passed_on_behind_what_stands_before_it() -> None:
    working = marked(Committed(), {0: (None, [event()]), 1: (b"meter/7/start", []), 2: (None, [event()])})
    sent = [(one.topic, one.key, one.partition) for one in working.sent]
    assert sent == [
        ("events-settled", None, 0),
        ("usage", None, 0),
        ("events-settled", b"meter/7/start", 0),
    ]
    assert working.events == 2


def test_after_a_barrier_no_worker_uses_older_definitions() -> None:
    table = Committed()

    def least(key: bytes | None) -> int:
        chunk = chunk_of("events-unique", [b"[]"])
        cast(FakeRecord, chunk.records[0]).key = key
        working = FakeTransactions(chunk, cast(DictTable, table.overlay()))
        return barriers.least_revision(working.transaction)

    assert [least(None), least(b"meter/3/start")] == [0, 3]
    marked(table, {0: (b"meter/5/start", []), 1: (b"meter/4/start", [])})
    assert [least(None), least(b"meter/3/start"), least(b"meter/9/start")] == [5, 5, 9]
    run({2: [event(START_S, START_S + 40 * HOUR_S)], 3: [event()]}, table)
    assert least(None) == 5
