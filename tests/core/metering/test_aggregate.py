"""Aggregation: each kind, each refusal, each border."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.core.metering import window_state
from pipeline.core.metering.aggregate import FULL, aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import AGGREGATIONS, define
from pipeline.records import Event, Refused, Settled
from tests.fixtures.metered_events import EVERY, MINUTE_NS, START_NS, SUMMED, Memory, event, meter, one, run

PEERS = json.loads((Path(__file__).parents[2] / "cases/peers-aggregation.json").read_text())["cases"]
# Left out of peers-aggregation.json: weighted sums, and rounding of a metric or expression, which OpenMeter's
# aggregations do not know; deduplication and time bounds, which ingest and dedupe test. Kept with another
# value: a negative total billed as zero, which is a rule of billing: a meter shows the negative total.
LEFT_OUT = ("weighted sum", "metric rounding", "expression rounding", "dedupe", "ingest bounds")
QUERY = json.loads((Path(__file__).parents[2] / "cases/openmeter-meter-query.json").read_text())["cases"]
# Of openmeter-meter-query.json only the aggregation of given data belongs here; the rest is the query's.
VALUES = [case for case in QUERY if case["in"].get("range") == "covers all three events"]


@pytest.mark.parametrize(
    ("aggregation", "values", "value", "change", "count"),
    [
        ("SUM", [1, "2.50", -0.25], "3.25", "3.25", 3),
        ("SUM", ["0.1", "0.2"], "0.3", "0.3", 2),
        ("SUM", [2**53 + 1, 1], "9007199254740994", "9007199254740994", 2),
        (
            "SUM",
            [b'{"v": 1e-12}', 9 * 10**15],
            "9000000000000000.000000000001",
            "9000000000000000.000000000001",
            2,
        ),
        ("SUM", [10, -25], "-15", "-15", 2),
        ("AVG", [1, 2], "3", "3", 2),
        ("MIN", [3, "-1.5", 2], "-1.5", "-1.5", 3),
        ("MAX", [-3, -1, -2], "-1", "-1", 3),
        ("UNIQUE_COUNT", ["a", "b", "a", 5, "5"], "3", "3", 5),
        ("LATEST", [1, 7], "7", "7", 2),
    ],
)
def test_one_window(aggregation: str, values: list[object], value: str, change: str, count: int) -> None:
    events = [event(v if isinstance(v, bytes) else {"v": v}, place) for place, v in enumerate(values)]
    window = one(events, meter(aggregation))
    assert (window.value, window.change, window.count) == (value, change, count)
    assert (window.start_s, window.subject, window.dimensions) == (1_704_067_200, "a", {})
    assert len(window.members) == (3 if aggregation == "UNIQUE_COUNT" else 0)
    assert (window.order != "") == (aggregation == "LATEST")


@pytest.mark.parametrize(
    "case", [case for case in PEERS if not case["model"].startswith(LEFT_OUT)], ids=lambda case: case["id"]
)
def test_peers(case: dict[str, Any]) -> None:
    name = case["model"].split("(")[0].upper()
    rows = case["in"].get("events") or [{"v": value} for value in case["in"]["values"]]
    events = [event({"v": row.get("v", row.get("user"))}, place) for place, row in enumerate(rows)]
    window = one(events, meter({"UNIQUE": "UNIQUE_COUNT"}.get(name, name)))
    assert window.value == ("-15" if case["id"] == "stripe-negative-cycle" else case["out"]["units"])


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case["id"])
def test_openmeter_values(case: dict[str, Any]) -> None:
    events = [event({"v": row["data"]["value"]}, place) for place, row in enumerate(case["in"]["events"])]
    outcome = run(events, MeterIndex([meter(case["in"]["aggregation"])]))
    assert [settled.fate for settled in outcome.settled] == ["counted", "counted", "invalid"]
    # Theirs is a binary fraction; ours is the exact number, which rounds to theirs.
    assert float(outcome.windows[0].value) == case["out"]["value"]


def test_latest_is_by_time_then_arrival() -> None:
    later = event({"v": 1}, 0, START_NS + 5)
    assert one([later, event({"v": 2}, 9, START_NS + 4)], meter("LATEST")).value == "1"
    assert one([later, event({"v": 3}, 1, START_NS + 5)], meter("LATEST")).value == "3"
    newer = event({"v": 4}, 0, START_NS + 5, received_at_ms=1_704_067_200_501)
    window = one([newer, event({"v": 5}, 1, START_NS + 5)], meter("LATEST"))
    assert window.value == "4"
    assert window.order == "01704067200000000005" + "001704067200501" + "000000" + "0" * 20


def test_each_event_has_one_fate() -> None:
    of = [meter("SUM", "total", 1), meter("MAX", "most", 2, valueProperty="$.w"), meter("COUNT", "calls", 3)]
    late = define(
        {"slug": "late", "eventType": "late", "aggregation": "COUNT", "eventFrom": "2024-01-02T00:00:00Z"}, 4
    )
    only = define({"slug": "only", "eventType": "only", "aggregation": "SUM", "valueProperty": "$.v"}, 5)
    events = [
        event({"v": 1, "w": 2}),
        event({"v": "NaN", "w": 2}),
        event(b"null"),
        event({"v": 1}, type="other"),
        event({"v": 1}, namespace="other"),
        event({"v": 1}, type="late"),
        event({"v": "x"}, type="only"),
        event(b'{"v": ' + b"9" * 5000 + b"}"),
        event({"v": 1}, time_ns=START_NS - 1),
        event({"v": 1}, type="other", time_ns=START_NS - 1),
    ]
    outcome = run(events, MeterIndex([*of, late, only]), closed=1_704_067_200)
    unreadable = "failed to parse event data: Integer value out of range - at `$.v`"
    assert [(settled.fate, settled.reason, settled.meters) for settled in outcome.settled] == [
        ("counted", "", ["calls", "most", "total"]),
        ("counted", "total: value cannot be NaN", ["calls", "most"]),
        (
            "counted",
            "most: null and missing value property; total: null and missing value property",
            ["calls"],
        ),
        ("unmetered", "", []),
        ("unmetered", "", []),
        ("unmetered", "", []),
        ("invalid", "only: value cannot be parsed as a number: x", []),
        ("counted", f"most: {unreadable}; total: {unreadable}", ["calls"]),
        ("rejected", "window-closed", []),
        ("unmetered", "", []),
    ]
    assert all(settled.revision == 5 for settled in outcome.settled)
    assert [settled.event for settled in outcome.settled] == events
    assert outcome.counts == {
        "default": {
            "read": 9,
            "counted": 4,
            "unmetered": 3,
            "invalid": 1,
            "rejected:window-closed": 1,
            "/meter/calls/3/counted": 4,
            "/meter/most/2/counted": 2,
            "/meter/most/2/refused/no-data": 1,
            "/meter/most/2/refused/data-unreadable": 1,
            "/meter/only/5/refused/value-not-a-number": 1,
            "/meter/total/1/counted": 1,
            "/meter/total/1/refused/value-not-a-number": 1,
            "/meter/total/1/refused/no-data": 1,
            "/meter/total/1/refused/data-unreadable": 1,
        },
        "other": {"read": 1, "unmetered": 1},
    }
    assert outcome.settled[1].refused == [Refused(1, "total", "value-not-a-number", "value cannot be NaN")]
    assert [settled.rules for settled in outcome.settled] == [1, 1, 1, 0, 0, 1, 1, 1, 0, 0]


def test_a_window_is_closed_as_a_whole() -> None:
    index = MeterIndex([meter("COUNT")])
    assert run([event({}, time_ns=START_NS)], index, closed=1_704_067_200).settled[0].fate == "counted"
    assert (
        run([event({}, time_ns=START_NS + 59 * 10**9)], index, closed=1_704_067_201).settled[0].fate
        == "rejected"
    )
    assert run([event({}, time_ns=-1)], index).settled[0].fate == "rejected"


def test_huge_dimensions_are_refused() -> None:
    index = MeterIndex([meter("COUNT", groupBy={"d": "$.d", "e": "$.e"})])
    outcome = run([event({"d": "x" * 4000, "e": "y" * 96}), event({"d": "x" * 4000, "e": "y" * 97})], index)
    assert [settled.fate for settled in outcome.settled] == ["counted", "invalid"]
    assert outcome.settled[1].reason == "m: group by values have more than 4096 characters in total"


def test_a_full_window_refuses_what_no_longer_fits_and_nothing_stops() -> None:
    most, small = event({"v": "9" * 18}), event({"v": "-1"})
    table = Memory()
    total = run([most] * 101, SUMMED, table, 0)
    assert [settled.fate for settled in total.settled] == ["counted"] * 101
    assert [settled.meters for settled in total.settled][99:] == [["avg", "count", "sum"], ["count"]]
    assert total.settled[100].reason == f"avg: {FULL.detail}; sum: {FULL.detail}"
    assert {window.meter: window.count for window in total.windows} == {"avg": 100, "count": 101, "sum": 100}
    only = MeterIndex([meter("SUM", "sum", 2)])
    before = dict(table)
    refused = run([most], only, table, 1)
    why = Refused(2, "sum", *FULL)
    assert refused.settled == [
        Settled(most, "invalid", f"sum: {FULL.detail}", [], 5, None, 1, [why], position=2)
    ]
    full = "/meter/sum/2/refused/window-full"
    assert (refused.windows, refused.counts) == ([], {"default": {"read": 1, "invalid": 1, full: 1}})
    assert before.items() <= table.items()
    assert [window.change for window in run([small], only, table, 2).windows] == ["-1"]
    assert run([most], only, table, 1) == refused


def test_each_window_of_a_record_is_full_by_itself() -> None:
    most = [event({"v": "9" * 18}, place, subject=subject) for place, subject in enumerate("ab" * 101)]
    outcome = run(most, MeterIndex([meter("SUM")]))
    assert [settled.event.offset for settled in outcome.settled if settled.fate == "invalid"] == [200, 201]
    assert [(window.subject, window.count) for window in outcome.windows] == [("a", 100), ("b", 100)]


def test_subjects_and_dimensions_never_collide() -> None:
    index = MeterIndex([meter("COUNT", groupBy={"d": "$.d", "e": "$.e"}), meter("COUNT", "n", 2)])
    table = Memory()
    pairs = [
        ("a|b", "c", ""),
        ("a", "b|c", ""),
        ("a", "", "b|c"),
        ("", "a", "b|c"),
        ("a\x00", "b", "c"),
        ("a", "\x00b", "c"),
    ]
    outcome = run([event({"d": d, "e": e}, subject=s) for s, d, e in pairs], index, table)
    of_m = [window for window in outcome.windows if window.meter == "m"]
    assert [(window.subject, *window.dimensions.values()) for window in of_m] == pairs
    assert len(table) == len(outcome.windows) == len(pairs) + len({subject for subject, _, _ in pairs})


def test_a_meter_that_is_recreated_starts_from_zero_and_namespaces_stay_apart() -> None:
    table = Memory()
    run([event({})], MeterIndex([meter("COUNT", meter_id=1)]), table, 0)
    assert run([event({})], MeterIndex([meter("COUNT", meter_id=2)]), table, 1).windows[0].value == "1"
    body = {"slug": "m", "eventType": "t", "aggregation": "COUNT"}
    other = MeterIndex([define(body, 1, "other")])
    assert run([event({}, namespace="other")], other, table, 2).windows[0].value == "1"
    assert run([event({})], MeterIndex([meter("COUNT", meter_id=1)]), table, 3).windows[0].value == "2"


def test_keys_start_with_their_minute() -> None:
    table = Memory()
    events = [
        event({"v": minute, "d": "x"}, minute, START_NS + minute * MINUTE_NS) for minute in (3, 300, 70_000)
    ]
    run(events, EVERY, table)
    starts = [window_state.key_start_s(key) for key in sorted(table)]
    assert starts == sorted(starts)
    assert Counter(starts) == {
        1_704_067_200 + minute * 60: len(AGGREGATIONS) + 1 for minute in (3, 300, 70_000)
    }


def test_a_record_reads_each_meter_once() -> None:
    table = Memory()
    run([event({"v": place % 7, "d": place % 5}, place) for place in range(100)], EVERY, table)
    assert table.reads == len(AGGREGATIONS) + 1


def test_windows_of_a_watched_meter_name_their_events() -> None:
    index = MeterIndex([meter("SUM")], {("default", "m")})
    events = [
        Event(
            "default",
            "/s",
            f"e{n}",
            "t",
            "ann",
            60_000_000_000 * (n % 2),
            5,
            "events",
            0,
            n,
            msgspec.Raw(data),
        )
        for n, data in enumerate([b'{"v":1.5}', b'{"v":2}', b'{"v":"x"}', b'{"v":-3}', b'{"v":0.25}'])
    ]
    windows = aggregate(events, 7, index, Memory(), 0, 1).windows
    named = {window.start_s: window.events for window in windows}
    assert named == {
        0: [("/s", "e0", "1.5"), ("/s", "e4", "0.25")],
        60: [("/s", "e1", "2"), ("/s", "e3", "-3")],
    }
    assert [
        window.events for window in aggregate(events, 7, MeterIndex([meter("SUM")]), Memory(), 0, 1).windows
    ] == [[], []]
