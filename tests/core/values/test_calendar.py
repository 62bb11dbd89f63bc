"""Calendar steps, periods and schedules: OpenMeter's cases, and laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values import calendar, timestamp
from pipeline.core.values.calendar import Interval, Recurrence, Reset, Schedule
from pipeline.errors import Rejected

CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-periods-proration.json").read_text())[
    "cases"
]
RECURRENCES = [case for case in CASES if "anchor" in case["in"]]
ADDITIONS = [case for case in CASES if "duration" in case["in"]]
# Left out: billing periods of subscriptions and proration of flat fees, which billing tests.

intervals = st.one_of(
    st.integers(60, 500_000).map(lambda minutes: Interval(0, minutes * 60)),
    st.integers(1, 40).map(lambda months: Interval(months, 0)),
    st.tuples(st.integers(1, 5), st.integers(1, 100_000)).map(lambda two: Interval(two[0], two[1] * 60)),
)
instants = st.integers(-(10**9), 5 * 10**9)


def at(text: str) -> int:
    return timestamp.parse_ns(text) // 1_000_000_000


@pytest.mark.parametrize("case", RECURRENCES, ids=lambda case: case["id"])
def test_openmeter_recurrences(case: dict[str, Any]) -> None:
    given_ = case["in"]
    recurrence = Recurrence(calendar.parse(given_["interval"]), at(given_["anchor"]))
    assert calendar.bounds(recurrence, at(given_["at"])) == (at(case["out"]["from"]), at(case["out"]["to"]))


@pytest.mark.parametrize("case", ADDITIONS, ids=lambda case: case["id"])
def test_openmeter_additions(case: dict[str, Any]) -> None:
    duration = case["in"]["duration"]
    interval = calendar.parse(duration.replace("-", ""))
    assert calendar.add(at(case["in"]["start"]), interval, -1 if "-" in duration else 1) == at(
        case["out"]["end"]
    )


def test_there_are_cases() -> None:
    assert (len(RECURRENCES), len(ADDITIONS)) == (2, 8)


@pytest.mark.parametrize(
    ("start", "interval", "end"),
    [
        ("2023-01-31T00:00:00Z", "MONTH", "2023-03-03T00:00:00Z"),
        ("2024-01-31T00:00:00Z", "MONTH", "2024-03-02T00:00:00Z"),
        ("2024-02-29T10:30:00Z", "YEAR", "2025-03-01T10:30:00Z"),
        ("2024-12-31T00:00:00Z", "P2M", "2025-03-03T00:00:00Z"),
        ("2024-01-15T00:00:00Z", "MONTH", "2024-02-15T00:00:00Z"),
        ("2024-01-15T00:00:00Z", "DAY", "2024-01-16T00:00:00Z"),
    ],
)
def test_overflow_runs_into_the_next_month(start: str, interval: str, end: str) -> None:
    assert calendar.add(at(start), calendar.parse(interval), overflow=True) == at(end)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("DAY", Interval(0, 86_400)),
        ("WEEK", Interval(0, 604_800)),
        ("MONTH", Interval(1, 0)),
        ("YEAR", Interval(12, 0)),
        ("PT1H", Interval(0, 3600)),
        ("PT90M", Interval(0, 5400)),
        ("PT3600S", Interval(0, 3600)),
        ("P1Y2M3W4DT5H6M", Interval(14, 25 * 86_400 + 18_360)),
    ],
)
def test_intervals(text: str, interval: Interval) -> None:
    assert calendar.parse(text) == interval
    assert calendar.parse(calendar.iso(interval)) == interval


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1", "P1DT", "PT59M", "PT0S", "P0D", "P-1D", "P1.5D", "PT3601S", "day", "P1D ", 5, None, "P9999Y",
     "P٣D", "PT1H\n"],
)  # fmt: skip
def test_what_is_no_interval(text: object) -> None:
    with pytest.raises(Rejected) as raised:
        calendar.parse(text)
    assert raised.value.reason == "bad-interval"


@given(intervals, instants, instants)
def test_periods_tile_all_time(interval: Interval, anchor_s: int, at_s: int) -> None:
    recurrence = Recurrence(interval, anchor_s)
    start_s, end_s = calendar.bounds(recurrence, at_s)
    assert start_s <= at_s < end_s
    assert calendar.bounds(recurrence, end_s)[0] == end_s == calendar.next_tick(recurrence, at_s)
    assert calendar.bounds(recurrence, start_s) == (start_s, end_s)
    assert calendar.bounds(recurrence, start_s - 1)[1] == start_s
    assert calendar.is_tick(recurrence, start_s)
    assert not calendar.is_tick(recurrence, start_s + 1)
    assert calendar.bounds(recurrence, anchor_s)[0] == anchor_s


@given(st.data(), intervals, instants)
def test_usage_periods_tile_the_time_from_the_start(
    data: st.DataObject, interval: Interval, start_s: int
) -> None:
    gaps = data.draw(st.lists(st.integers(1, 400 * 86_400), max_size=4))
    at_s, resets = start_s, []
    for gap in gaps:
        at_s += gap
        resets.append(Reset(at_s, data.draw(st.sampled_from([at_s, start_s])), False))
    schedule = Schedule(start_s, Recurrence(interval, data.draw(instants)), tuple(resets))
    at_s = start_s
    seen = []
    for _ in range(30):
        first_s, end_s = calendar.usage_period(schedule, at_s)
        assert first_s == at_s < end_s
        assert calendar.usage_period(schedule, end_s - 1) == (first_s, end_s)
        seen.append(first_s)
        at_s = end_s
    assert [reset.at_s for reset in resets if reset.at_s < at_s] == [
        first_s for first_s in seen if calendar.manual_reset(schedule, first_s)
    ]


def test_a_reset_moves_the_anchor_or_keeps_it() -> None:
    monthly = Recurrence(calendar.parse("MONTH"), at("2024-01-01T00:00:00Z"))
    when = at("2024-02-10T08:00:00Z")
    moved = Schedule(monthly.anchor_s, monthly, (Reset(when, when, False),))
    kept = Schedule(monthly.anchor_s, monthly, (Reset(when, monthly.anchor_s, False),))
    assert calendar.usage_period(moved, when) == (when, at("2024-03-10T08:00:00Z"))
    assert calendar.usage_period(kept, when) == (when, at("2024-03-01T00:00:00Z"))
    assert calendar.usage_period(kept, when - 1) == (at("2024-02-01T00:00:00Z"), when)


@pytest.mark.parametrize(
    ("at_s", "down", "up"), [(0, 0, 0), (1, 0, 60), (59, 0, 60), (60, 60, 60), (-1, -60, 0)]
)
def test_minutes(at_s: int, down: int, up: int) -> None:
    assert (calendar.floor_minute(at_s), calendar.ceil_minute(at_s)) == (down, up)
