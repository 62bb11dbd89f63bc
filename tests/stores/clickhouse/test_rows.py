"""Records as rows: every member in its column, refused records whatever their bytes, newest windows only."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.errors import Broken
from pipeline.records import Backfilled, Event, Refused, Settled, StripeUsage, Window
from pipeline.stores.clickhouse.client import TABLES
from pipeline.stores.clickhouse.rows import (
    LATEST_S,
    canonical,
    mark_columns,
    rejected_columns,
    settled_columns,
    stripe_columns,
    unique_columns,
    window_columns,
)

EVENT = Event("n", "src", "id", "t", "s", 1_500_000_001, 1234, "events", 3, 99, msgspec.Raw(b'{"a":1.10}'))


def window(**others: Any) -> Window:
    given = {
        "namespace": "n",
        "meter": "m",
        "meter_id": 7,
        "subject": "s",
        "dimensions": {"b": "2", "a": "1"},
        "start_s": 60,
        "value": "1.5",
        "count": 2,
        "change": "1",
        "order": "o",
        "members": [],
        "revision": 5,
        "received_at_ms": 8,
    }
    return Window(**given | others)


def headers(**others: str) -> list[tuple[str, bytes | None]]:
    given = {
        "reason": "bad-json",
        "detail": "Not JSON.",
        "namespace": "n",
        "topic": "events",
        "partition": "3",
        "offset": "99",
        "received_at_ms": "1999",
    }
    return [("tallymark_" + name, text.encode()) for name, text in (given | others).items()]


def only(columns: dict[str, list[Any]]) -> dict[str, Any]:
    assert {len(values) for values in columns.values()} == {1}
    return {name: values[0] for name, values in columns.items()}


def test_columns_are_those_of_the_tables() -> None:
    assert set(settled_columns([], 1)) == set(rejected_columns([], 1)) == TABLES["events"]
    assert set(window_columns([], 1)) == TABLES["windows"]
    assert set(unique_columns([])) == TABLES["uniques"]
    assert set(stripe_columns([], 1)) == TABLES["stripe_usage"]
    assert set(mark_columns([])) == TABLES["marks"]
    assert all(values == [] for values in window_columns([], 1).values())


@pytest.mark.parametrize("event", [EVENT, msgspec.Raw(msgspec.json.encode(EVENT))])
def test_a_settled_event(event: Any) -> None:
    assert only(settled_columns([Settled(event, "invalid", "why", ["m"], 4)], 777)) == {
        "namespace": "n",
        "source": "src",
        "id": "id",
        "type": "t",
        "subject": "s",
        "time": 1,
        "time_ns": 1_500_000_001,
        "received_at_ms": 1234,
        "stored_at_ms": 777,
        "data": '{"a":1.10}',
        "raw": "",
        "fate": "invalid",
        "reason": "why",
        "detail": "",
        "meters": ["m"],
        "input_topic": "events",
        "input_partition": 3,
        "input_offset": 99,
        "revision": 4,
        "decided": 4,
        "fate_before": "",
        "backfilled": [],
        "backfilled_rules": [],
        "rules": 0,
        "refused_ids": [],
        "refused_meters": [],
        "refused_reasons": [],
        "refused_details": [],
        "position": 0,
        "backfilled_positions": [],
    }


def test_what_meters_refused_is_a_list_in_four_columns() -> None:
    refused = [Refused(4, "bill", "value-null", "value cannot be null"), Refused(9, "n", "value-type", "why")]
    row = only(settled_columns([Settled(EVENT, "counted", "", ["m"], 4, None, 1, refused)], 777))
    assert row["rules"] == 1
    assert (row["refused_ids"], row["refused_meters"]) == ([4, 9], ["bill", "n"])
    assert row["refused_reasons"] == ["value-null", "value-type"]
    assert row["refused_details"] == ["value cannot be null", "why"]


def test_an_event_that_a_backfill_changed_keeps_the_revision_of_its_decision() -> None:
    back = Backfilled(decided=4, before="unmetered", meters=[9], rules=[1])
    row = only(settled_columns([Settled(EVENT, "counted", "", ["m"], 9, back)], 777))
    changed = {"revision": 9, "decided": 4, "fate_before": "unmetered", "backfilled": [9], "fate": "counted"}
    changed |= {"backfilled_rules": [1]}
    assert row.items() >= changed.items()


def test_packed_records_decode_to_rows() -> None:
    packed = msgspec.json.encode([Settled(placed(offset), "counted", "", ["m"], 4) for offset in range(3)])
    columns = settled_columns(msgspec.json.decode(packed, type=list[Settled]), 1)
    assert columns["data"] == ['{"a":1.10}'] * 3


def placed(offset: int) -> Event:
    return msgspec.structs.replace(EVENT, offset=offset)


def test_an_event_written_twice_together_is_one_row_of_the_highest_revision() -> None:
    first, second = Settled(placed(1), "unmetered", "", [], 4), Settled(placed(1), "counted", "", ["m"], 9)
    other = Settled(msgspec.structs.replace(placed(1), partition=8), "invalid", "", [], 2)
    for together in ([first, second, other], [second, first, other]):
        columns = settled_columns(together, 1)
        assert sorted(zip(columns["fate"], columns["input_partition"], strict=True)) == [
            ("counted", 3),
            ("invalid", 8),
        ]


def test_rows_made_together_have_keys_of_their_own() -> None:
    assert rejected_columns([(b"1", headers()), (b"1", headers())], 1)["raw"] == ["1"]
    brought = [window(members=["a", "b"]), window(members=["b"], part=1), window(members=["b"], start_s=120)]
    assert unique_columns(brought)["member"] == ["a", "b", "b"]
    assert mark_columns([("m", "usage", 1), ("m", "usage", 1), ("m", "usage", 2)])["partition"] == [1, 2]


@pytest.mark.parametrize("time_ns,time", [(-1, 0), (-(10**18), 0), (10**19, LATEST_S), (59_999_999_999, 59)])
def test_times_stay_in_a_datetime(time_ns: int, time: int) -> None:
    event = msgspec.structs.replace(EVENT, time_ns=time_ns)
    assert only(settled_columns([Settled(event, "counted")], 1))["time"] == time


def test_a_refused_record() -> None:
    value = b'{"id": "i", "source": "src", "type": 5, "subject": "s"}'
    assert only(rejected_columns([(value, headers())], 777)) == {
        "namespace": "n",
        "source": "src",
        "id": "i",
        "type": "",
        "subject": "s",
        "time": 1,
        "time_ns": 1_999_000_000,
        "received_at_ms": 1999,
        "stored_at_ms": 777,
        "data": "",
        "raw": value.decode(),
        "fate": "rejected",
        "reason": "bad-json",
        "detail": "Not JSON.",
        "meters": [],
        "input_topic": "events",
        "input_partition": 3,
        "input_offset": 99,
        "revision": 0,
        "decided": 0,
        "fate_before": "",
        "backfilled": [],
        "backfilled_rules": [],
        "rules": 0,
        "refused_ids": [],
        "refused_meters": [],
        "refused_reasons": [],
        "refused_details": [],
        "position": 0,
        "backfilled_positions": [],
    }


@pytest.mark.parametrize(
    "value,raw",
    [
        (None, ""),
        (b"", ""),
        (b"\xff\0\xed\xa0\x80", "\\xff\0\\xed\\xa0\\x80"),
        (b"[" * 100_000, "[" * 100_000),
        (b'{"id": "\\ud800"}', '{"id": "\\ud800"}'),
        (b"[1]", "[1]"),
        ("é".encode(), "é"),
    ],
)
def test_any_value_becomes_text_that_can_be_stored(value: bytes | None, raw: str) -> None:
    row = only(rejected_columns([(value, headers())], 1))
    assert (row["raw"], row["id"]) == (raw, "")


@given(st.none() | st.binary(max_size=50) | st.from_regex(rb'\{"id":.*\}'), st.binary(max_size=20))
def test_no_bytes_stop_the_sink(value: bytes | None, attribute: bytes) -> None:
    columns = rejected_columns([(value, [("ce_id", attribute), ("ce_type", None), *headers()])], 1)
    msgspec.json.encode(columns)


def test_binary_mode_attributes_come_from_headers_and_are_cut() -> None:
    own = [("ce_id", b"x" * 5000), ("ce_source", b"\xff"), ("tallymark_reason", b"forged"), *headers()]
    row = only(rejected_columns([(b'{"id": "data"}', own)], 1))
    assert (row["id"], row["source"], row["reason"]) == ("x" * 1024, "\\xff", "bad-json")


@pytest.mark.parametrize("missing", ["reason", "namespace", "topic", "partition", "offset", "received_at_ms"])
def test_a_missing_header_of_ours_is_broken(missing: str) -> None:
    with pytest.raises(Broken):
        rejected_columns([(b"", [pair for pair in headers() if pair[0] != "tallymark_" + missing])], 1)
    if missing in ("partition", "offset", "received_at_ms"):
        with pytest.raises(Broken):
            rejected_columns([(b"", headers(**{missing: "x"}))], 1)


def test_a_window() -> None:
    assert only(window_columns([window()], 777)) == {
        "namespace": "n",
        "meter": "m",
        "meter_id": 7,
        "subject": "s",
        "dimensions": '{"a":"1","b":"2"}',
        "dimension_names": ["a", "b"],
        "dimension_values": ["1", "2"],
        "start": 60,
        "part": 0,
        "value": "1.5",
        "count": 2,
        "latest_order": "o",
        "revision": 5,
        "received_at_ms": 8,
        "stored_at_ms": 777,
    }


def test_of_one_window_the_highest_revision_stays() -> None:
    some = [window(revision=5, value="5"), window(revision=7, value="7"), window(revision=6, value="6")]
    others = [
        window(subject="x"),
        window(meter_id=8),
        window(start_s=0),
        window(namespace="o"),
        window(dimensions={}),
        window(part=1),
    ]
    columns = window_columns([*some, *others], 1)
    assert columns["value"] == ["7"] + ["1.5"] * 6


SENT = StripeUsage(
    "n",
    "app",
    "map",
    "m",
    "cus",
    {"b": "2", "a": "1"},
    3_600,
    7_200,
    "1.5",
    10**40,
    3,
    0,
    -2,
    "",
    "",
    2,
    7,
    99,
)


def test_usage_at_stripe() -> None:
    assert only(stripe_columns([SENT], 777)) == {
        "namespace": "n",
        "app": "app",
        "mapping": "map",
        "meter": "m",
        "customer": "cus",
        "dimensions": '{"a":"1","b":"2"}',
        "start": 3_600,
        "end_at": 7_200,
        "exact": "1.5",
        "wanted": "1" + "0" * 40,
        "confirmed": "3",
        "unsendable": "0",
        "pending": "-2",
        "cause": "",
        "message": "",
        "requests": 2,
        "revision": 7,
        "at_ms": 99,
        "stored_at_ms": 777,
    }


def test_of_one_window_at_stripe_the_newest_state_stays() -> None:
    some = [replace(SENT, revision=revision, confirmed=revision) for revision in (5, 8, 6)]
    same_offset = replace(
        SENT, revision=8, confirmed=9
    )  # a record may change a window twice; the last is its state
    others = [
        replace(SENT, start_s=0),
        replace(SENT, mapping="x"),
        replace(SENT, customer="x"),
        replace(SENT, namespace="x"),
        replace(SENT, dimensions={}),
    ]
    assert stripe_columns([*some, same_offset, *others], 1)["confirmed"] == ["9"] + ["3"] * 5


def test_members_of_every_revision_stay() -> None:
    columns = unique_columns(
        [window(revision=1, members=["aa"]), window(revision=2, members=["bb", "cc"]), window()]
    )
    assert columns["member"] == ["aa", "bb", "cc"]
    assert columns["dimension_values"] == [["1", "2"]] * 3


some = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)


@given(some, some)
def test_dimensions_are_canonical(one: dict[str, str], other: dict[str, str]) -> None:
    assert canonical(one) == canonical(dict(reversed(one.items())))
    assert (canonical(one) == canonical(other)) == (one == other)
