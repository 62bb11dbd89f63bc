"""The recount and the stream by themselves: cases counted by hand, and the mix that the stream promises."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.flow.broken_lines import BREAKS, broken
from tests.flow.event_line import line, make
from tests.flow.meters import METERS
from tests.flow.recount import Arrived, WindowKey, WindowValue, compare, plain, recount
from tests.flow.stream import DEFAULT_NOW_NS, KeyStyle, stream

NOW_MS = DEFAULT_NOW_NS // 1_000_000
TIME = "2026-05-28T20:26:40.000000001Z"
MINUTE_S = 1_779_999_960


def arrive(lines: list[bytes]) -> list[Arrived]:
    return [Arrived(value, NOW_MS + number, 0, number) for number, value in enumerate(lines)]


def event(id: str = "1", /, **members: Any) -> bytes:
    whole = {"specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "ann", "time": TIME}
    return json.dumps({**whole, "data": {"v": 1}, **members}).encode()


def meter(aggregation: str) -> dict[str, object]:
    value = {} if aggregation == "COUNT" else {"valueProperty": "$.v"}
    return {"slug": "m", "eventType": "t", "aggregation": aggregation, **value}


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("COUNT", "3"), ("SUM", "2.5"), ("AVG", "0.833333333333333333"), ("MIN", "-1"), ("MAX", "2"),
     ("LATEST", "1.5"), ("UNIQUE_COUNT", "3")],
)  # fmt: skip
def test_each_aggregation(aggregation: str, value: str) -> None:
    lines = [event(str(place), data={"v": v}) for place, v in enumerate(["2", "-1", "1.5"])]
    result = recount(arrive(lines), [meter(aggregation)])
    assert result.windows == {WindowKey("m", "ann", (), MINUTE_S): WindowValue(value, 3)}


@pytest.mark.parametrize(
    ("second", "fate"),
    [
        (event(), "duplicate"),
        (event().replace(b'"v": 1', b'"v":1 '), "duplicate"),
        (event(data={"v": 2}), "conflict"),
        (event(subject="bob"), "conflict"),
        (event(source="/t"), "counted"),
        (event("2", type="other"), "unmetered"),
        (event("2", data={"v": "x"}), "invalid"),
        (event("2", data={}), "invalid"),
        (event("2", id=""), "rejected"),
        (event("2", time="2026-07-01T00:00:00Z"), "rejected"),
        (event("2", time="2026-04-01T00:00:00Z"), "rejected"),
        (b"", "rejected"),
    ],
)
def test_fates(second: bytes, fate: str) -> None:
    result = recount(arrive([event(), second]), [meter("SUM")])
    assert result.fates == Counter(["counted", fate])


def test_the_last_nanosecond_of_a_minute_stays_in_it() -> None:
    result = recount(arrive([event(time="2026-05-28T22:26:59.999999999+02:00")]), [meter("COUNT")])
    assert [key.start_s for key in result.windows] == [MINUTE_S]


def test_latest_is_by_time_then_arrival() -> None:
    lines = [
        event("1", data={"v": 1}),
        event("2", data={"v": 2}),
        event("3", data={"v": 3}, time=TIME[:20] + "0Z"),
    ]
    result = recount(arrive(lines), [meter("LATEST")])
    assert [window.value for window in result.windows.values()] == ["2"]


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E2", "100"), ("-0", "0"), ("1.500", "1.5"), ("1E-18", "0." + "0" * 17 + "1"), ("10", "10")],
)
def test_plain(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_spellings_of_a_number_are_one_member_and_one_dimension() -> None:
    lines = [
        f'{{"specversion":"1.0","id":"{place}","source":"/s","type":"t","subject":"ann","time":"{TIME}",'
        f'"data":{{"v":{spelling},"d":{spelling}}}}}'.encode()
        for place, spelling in enumerate(["7", "7.0", "70e-1", '"7.0"', "-0.0", "0", "1.10"])
    ]
    result = recount(arrive(lines), [{**meter("UNIQUE_COUNT"), "groupBy": {"d": "$.d"}}])
    assert {dict(key.dimensions)["d"]: value for key, value in result.windows.items()} == {
        "7": WindowValue("1", 3),
        "7.0": WindowValue("1", 1),
        "0": WindowValue("1", 2),
        "1.1": WindowValue("1", 1),
    }


ROW = {"meter": "m", "subject": "ann", "window": "MINUTE", "tz": "UTC", "start": "2026-05-28T20:26:00Z",
       "end": "2026-05-28T20:27:00Z", "group": {}, "value": "1", "count": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([ROW], []),
        ([], ["missing"]),
        ([ROW, ROW], ["twice"]),
        ([ROW | {"value": "1.0"}], ["unequal"]),
        ([ROW | {"count": 2}], ["unequal"]),
        ([ROW | {"subject": "bob"}], ["extra", "missing"]),
        ([ROW | {"group": {"a": ""}}], ["extra", "missing"]),
    ],
)
def test_compare(rows: list[dict[str, Any]], kinds: list[str]) -> None:
    expected = recount(arrive([event()]), [meter("SUM")]).windows
    assert [sentence.split(":")[0] for sentence in compare(expected, rows)] == kinds


def test_the_stream_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(stream(3_000, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert not any(b"\n" in record.line for record in first)


def test_the_stream_holds_what_it_promises() -> None:
    result = recount(arrive([record.line for record in stream(40_000, 5)]), METERS)
    share = {fate: count / 40_000 for fate, count in result.fates.items()}
    assert 0.018 < share["rejected"] < 0.022
    assert 0.14 < share["duplicate"] + share["conflict"] < 0.16
    assert 0.008 < share["conflict"] < 0.012
    assert share["invalid"] > 0.001
    assert share["unmetered"] > 0.01
    assert {key.meter for key in result.windows} == {definition["slug"] for definition in METERS}
    assert {definition["aggregation"] for definition in METERS} == {
        "SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"
    }  # fmt: skip


def test_copies_of_an_identity_share_their_key() -> None:
    keys: dict[str, bytes | None] = {}
    for record in stream(20_000, 6):
        try:
            id = json.loads(record.line)["id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(id, str) and id.isalnum():
            assert keys.setdefault(id, record.key) == record.key


@pytest.mark.parametrize("key", ["subject", "random", "none"])
def test_other_keys_leave_out_what_would_be_a_race(key: KeyStyle) -> None:
    records = list(stream(5_000, 7, key=key))
    assert recount(arrive([record.line for record in records]), METERS).fates["conflict"] == 0
    assert (key == "none") == all(record.key is None for record in records)


def test_every_break_is_refused() -> None:
    rng = Random(1)
    lines = [change(make(rng, DEFAULT_NOW_NS, 0.5), rng, DEFAULT_NOW_NS) for change in BREAKS * 5]
    assert recount(arrive(lines), METERS).fates == {"rejected": len(lines)}
    assert b"\n" not in b"".join(lines)


def test_a_mended_line_is_counted() -> None:
    rng = Random(2)
    made = make(rng, DEFAULT_NOW_NS, 0.5)
    fates = recount(arrive([broken(made, rng, DEFAULT_NOW_NS), line(made)]), METERS).fates
    assert fates["rejected"] == 1
    assert fates["duplicate"] + fates["conflict"] == 0
