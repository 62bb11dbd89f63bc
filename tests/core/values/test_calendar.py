"""Calendar steps, periods and schedules: OpenMeter's cases, a calendar that counts day by day, and laws."""

from __future__ import annotations

import calendar
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.values import calendar as period
from pipeline.core.values import timestamp, zone
from pipeline.core.values.calendar import Interval, Recurrence, Reset, Schedule
from pipeline.errors import Rejected
from tests.fixtures.examples import examples

CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-periods-proration.json").read_text())[
    "cases"
]
RECURRENCES = [case for case in CASES if "anchor" in case["in"]]
ADDITIONS = [case for case in CASES if "duration" in case["in"]]
# Left out: billing periods of subscriptions and proration of flat fees, which billing tests.

intervals = st.one_of(
    st.integers(60, 500_000).map(lambda minutes: Interval(0, minutes * 60)),
    st.integers(1, 40).map(lambda months: Interval(months, 0)),
    st.integers(1, 400).map(lambda days: Interval(0, 0, days)),
    st.tuples(st.integers(1, 5), st.integers(1, 100_000)).map(lambda two: Interval(two[0], two[1] * 60)),
)
instants = st.integers(-(10**7), 5 * 10**7).map(lambda minutes: minutes * 60)
MODERN = st.integers(0, 2 * 10**7).map(lambda minutes: minutes * 60)  # 1970 to 2008
# Whole days that are skipped, changes at midnight and by 30 minutes, offsets of 45 minutes.
NAMES = ("Europe/Berlin", "Pacific/Apia", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
zones = st.sampled_from([zone.UTC, "+01:00", "-09:30", "+14:00", *NAMES])


def at(text: str) -> int:
    return timestamp.parse_ns(text) // 1_000_000_000


@pytest.mark.parametrize("case", RECURRENCES, ids=lambda case: case["id"])
def test_openmeter_recurrences(case: dict[str, Any]) -> None:
    given_ = case["in"]
    recurrence = Recurrence(period.parse(given_["interval"]), at(given_["anchor"]))
    assert period.bounds(recurrence, at(given_["at"])) == (at(case["out"]["from"]), at(case["out"]["to"]))


@pytest.mark.parametrize("case", ADDITIONS, ids=lambda case: case["id"])
def test_openmeter_additions(case: dict[str, Any]) -> None:
    duration = case["in"]["duration"]
    interval = period.parse(duration.replace("-", ""))
    assert period.add(at(case["in"]["start"]), interval, -1 if "-" in duration else 1) == at(
        case["out"]["end"]
    )


def test_there_are_cases() -> None:
    assert (len(RECURRENCES), len(ADDITIONS)) == (2, 8)


def counted(anchor_s: int, interval: Interval, times: int, name: str) -> int:
    """The tick by hand: the local day counted from the anchor's, then the first instant with that local time.

    It reads the local clock of every minute in turn, and shares no code with `period`.
    """
    rules = ZoneInfo(name)
    local = datetime.fromtimestamp(anchor_s, rules).replace(tzinfo=None)
    month = local.year * 12 + local.month - 1 + interval.months * times
    first = date(month // 12, month % 12 + 1, 1)
    day = min(local.day, calendar.monthrange(first.year, first.month)[1])
    wall = datetime.combine(first + timedelta(days=day - 1 + interval.days * times), local.time())
    read_s = int(wall.replace(tzinfo=UTC).timestamp())
    offset = None
    for at_s in range(read_s - 30 * 3600, read_s + 30 * 3600, 60):
        shown = datetime.fromtimestamp(at_s, rules).replace(tzinfo=None)
        if shown == wall:
            return at_s + interval.seconds * times
        if shown > wall:  # skipped: the offset before the change
            assert offset is not None
            skipped_s = int((wall - offset).replace(tzinfo=UTC).timestamp())
            return skipped_s // 60 * 60 + interval.seconds * times  # before 1914 offsets had odd seconds
        offset = datetime.fromtimestamp(at_s, rules).utcoffset()
    raise AssertionError(wall)


@settings(max_examples=examples(60), deadline=None)
@given(MODERN, intervals, st.integers(-30, 30).filter(bool), st.sampled_from(NAMES))
def test_a_tick_is_the_one_that_is_counted_day_by_day(
    anchor_s: int, interval: Interval, times: int, name: str
) -> None:
    assert period.add(anchor_s, interval, times, name) == counted(anchor_s, interval, times, name)


@given(instants, intervals, st.integers(-30, 30), st.integers(-840, 840))
def test_in_a_fixed_offset_a_tick_is_that_of_utc_as_the_local_clock_shows_it(
    anchor_s: int, interval: Interval, times: int, offset: int
) -> None:
    name = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    shifted = period.add(anchor_s + offset * 60, interval, times) - offset * 60
    assert period.add(anchor_s, interval, times, name) == shifted


MONTH_ENDS = [
    ("Z", "2026-01-31T00:00:00Z", ["01-31T00:00", "02-28T00:00", "03-31T00:00", "04-30T00:00", "05-31T00:00"]),
    ("+01:00", "2026-01-31T00:00:00+01:00", ["01-30T23:00", "02-27T23:00", "03-30T23:00", "04-29T23:00"]),
    ("+01:00", "2026-03-01T00:00:00+01:00", ["02-28T23:00", "03-31T23:00", "04-30T23:00", "05-31T23:00"]),
    ("+11:00", "2026-03-01T00:00:00+11:00", ["02-28T13:00", "03-31T13:00", "04-30T13:00"]),
    ("Europe/Berlin", "2026-01-31T00:00:00+01:00", ["01-30T23:00", "02-27T23:00", "03-30T22:00", "04-29T22:00"]),
    ("Europe/Berlin", "2026-03-01T00:00:00+01:00", ["02-28T23:00", "03-31T22:00", "04-30T22:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "anchor", "ticks"), MONTH_ENDS)
def test_months_step_from_the_anchors_local_day_and_do_not_drift(
    name: str, anchor: str, ticks: list[str]
) -> None:
    found = [period.add(at(anchor), period.NAMED["MONTH"], k, name) for k in range(len(ticks))]
    assert [zone.text_of(at_s)[5:16] for at_s in found] == ticks


@pytest.mark.parametrize(
    ("start", "interval", "end"),
    [
        ("2023-01-31T00:00:00Z", "MONTH", "2023-02-28T00:00:00Z"),
        ("2024-01-31T00:00:00Z", "MONTH", "2024-02-29T00:00:00Z"),
        ("2024-02-29T10:30:00Z", "YEAR", "2025-02-28T10:30:00Z"),
        ("2024-12-31T00:00:00Z", "P2M", "2025-02-28T00:00:00Z"),
    ],
)
def test_a_day_that_the_month_lacks_is_its_last_one(start: str, interval: str, end: str) -> None:
    assert period.add(at(start), period.parse(interval)) == at(end)


def test_a_day_of_the_calendar_keeps_local_midnight_and_24_hours_do_not() -> None:
    midnight = at("2026-03-28T00:00:00+01:00")  # the clock changes on the 29th
    found = [
        [zone.text_of(period.add(midnight, period.parse(text), k, "Europe/Berlin"), "Europe/Berlin")[8:16]
         for k in (1, 2)] for text in ("P1D", "PT24H")
    ]  # fmt: skip
    assert found == [["29T00:00", "30T00:00"], ["29T00:00", "30T01:00"]]


@pytest.mark.parametrize(
    ("name", "anchor", "interval", "tick"),
    [
        (
            "Europe/Berlin",
            "2026-02-28T02:30:00+01:00",
            "P29D",
            "2026-03-29T01:30:00Z",
        ),  # skipped: 03:30 local
        ("Europe/Berlin", "2026-09-25T02:30:00+02:00", "P1M", "2026-10-25T00:30:00Z"),  # twice: the first
        (
            "Europe/Berlin",
            "2026-10-25T02:30:00+01:00",
            "P371D",
            "2027-10-31T00:30:00Z",
        ),  # from its second time
        ("Pacific/Apia", "2011-11-30T08:00:00-10:00", "P1M", "2011-12-30T18:00:00Z"),  # the day did not exist
    ],
)
def test_local_times_that_do_not_exist_or_come_twice(
    name: str, anchor: str, interval: str, tick: str
) -> None:
    assert period.add(at(anchor), period.parse(interval), 1, name) == at(tick)


def test_an_anchor_is_a_tick_also_where_its_local_time_comes_twice() -> None:
    second = at("2026-10-25T02:30:00+01:00")
    found = period.bounds(Recurrence(period.NAMED["DAY"], second, "Europe/Berlin"), second)
    assert found == (second, at("2026-10-26T02:30:00+01:00"))


@given(intervals, zones, st.sampled_from([-62_135_596_800, -60_000_000_000, 250_000_000_000, 253_370_764_740]),
       st.integers(1, 5000))  # fmt: skip
def test_the_calendar_ends_at_its_borders(interval: Interval, name: str, anchor_s: int, years: int) -> None:
    for recurrence in (
        Recurrence(interval, anchor_s, name),
        Recurrence(Interval(12 * years, 0), anchor_s, name),
    ):
        for at_s in (period.EARLIEST_S, anchor_s, 0, period.LATEST_S - 1):
            start_s, end_s = period.bounds(recurrence, at_s)
            assert period.EARLIEST_S <= start_s <= at_s < end_s <= period.LATEST_S


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("DAY", Interval(0, 0, 1)),
        ("WEEK", Interval(0, 0, 7)),
        ("MONTH", Interval(1, 0)),
        ("YEAR", Interval(12, 0)),
        ("PT1H", Interval(0, 3600)),
        ("PT90M", Interval(0, 5400)),
        ("PT3600S", Interval(0, 3600)),
        ("PT24H", Interval(0, 86_400)),
        ("P1Y2M3W4DT5H6M", Interval(14, 18_360, 25)),
    ],
)
def test_intervals(text: str, interval: Interval) -> None:
    assert period.parse(text) == interval
    assert period.parse(period.iso(interval)) == interval


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1", "P1DT", "PT59M", "PT0S", "P0D", "P-1D", "P1.5D", "PT3601S", "day", "P1D ", 5, None, "P9999Y",
     "P٣D", "PT1H\n"],
)  # fmt: skip
def test_what_is_no_interval(text: object) -> None:
    with pytest.raises(Rejected) as raised:
        period.parse(text)
    assert raised.value.reason == "bad-interval"


@given(intervals, instants, instants, zones)
def test_periods_tile_all_time(interval: Interval, anchor_s: int, at_s: int, name: str) -> None:
    recurrence = Recurrence(interval, anchor_s, name)
    start_s, end_s = period.bounds(recurrence, at_s)
    assert start_s <= at_s < end_s
    assert period.bounds(recurrence, end_s)[0] == end_s == period.next_tick(recurrence, at_s)
    assert period.bounds(recurrence, start_s) == (start_s, end_s)
    assert period.bounds(recurrence, start_s - 1)[1] == start_s
    assert period.is_tick(recurrence, start_s)
    assert not period.is_tick(recurrence, start_s + 1)
    assert start_s % 60 == 0
    assert period.bounds(recurrence, anchor_s)[0] == anchor_s


@given(st.data(), intervals, instants, zones)
def test_usage_periods_tile_the_time_from_the_start(
    data: st.DataObject, interval: Interval, start_s: int, name: str
) -> None:
    gaps = data.draw(st.lists(st.integers(1, 400 * 1440).map(lambda minutes: minutes * 60), max_size=4))
    at_s, resets = start_s, []
    for gap in gaps:
        at_s += gap
        resets.append(Reset(at_s, data.draw(st.sampled_from([at_s, start_s])), False, name))
    schedule = Schedule(start_s, Recurrence(interval, data.draw(instants), name), tuple(resets))
    at_s = start_s
    seen = []
    for _ in range(30):
        first_s, end_s = period.usage_period(schedule, at_s)
        assert first_s == at_s < end_s
        assert period.usage_period(schedule, end_s - 1) == (first_s, end_s)
        seen.append(first_s)
        at_s = end_s
    assert [reset.at_s for reset in resets if reset.at_s < at_s] == [
        first_s for first_s in seen if period.manual_reset(schedule, first_s)
    ]


def test_a_reset_moves_the_anchor_or_keeps_it() -> None:
    monthly = Recurrence(period.parse("MONTH"), at("2024-01-01T00:00:00Z"))
    when = at("2024-02-10T08:00:00Z")
    moved = Schedule(monthly.anchor_s, monthly, (Reset(when, when, False),))
    kept = Schedule(monthly.anchor_s, monthly, (Reset(when, monthly.anchor_s, False),))
    assert period.usage_period(moved, when) == (when, at("2024-03-10T08:00:00Z"))
    assert period.usage_period(kept, when) == (when, at("2024-03-01T00:00:00Z"))
    assert period.usage_period(kept, when - 1) == (at("2024-02-01T00:00:00Z"), when)


@pytest.mark.parametrize(
    ("at_s", "down", "up"), [(0, 0, 0), (1, 0, 60), (59, 0, 60), (60, 60, 60), (-1, -60, 0)]
)
def test_minutes(at_s: int, down: int, up: int) -> None:
    assert (period.floor_minute(at_s), period.ceil_minute(at_s)) == (down, up)
