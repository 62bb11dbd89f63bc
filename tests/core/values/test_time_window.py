"""Windows: exact over changes of the clock, months, and days without a midnight."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.values import time_window
from pipeline.errors import Rejected

# Of openmeter-meter-query.json only the cases about the bounds of windows belong here; rows, filters and
# validation of parameters and CSV are the query's.
CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-meter-query.json").read_text())["cases"]
DST = [case for case in CASES if "DST" in case["source"]]

ZONES = [
    "UTC",
    "America/Los_Angeles",
    "America/Sao_Paulo",  # midnight skipped until 2018
    "America/St_Johns",  # changed at 00:01 until 2011, so the local date went back
    "America/Havana",
    "Asia/Beirut",  # midnight skipped
    "Asia/Kathmandu",  # +05:45
    "Asia/Kolkata",  # +05:30
    "Australia/Lord_Howe",  # half an hour of summer time
    "Europe/Berlin",
    "Pacific/Apia",  # 2011-12-30 never was
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Antarctica/Troll",  # two hours of summer time
]
YEARS = st.integers(
    int(datetime(1985, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2037, 1, 1, tzinfo=UTC).timestamp())
)


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def local(seconds: int, zone: str) -> str:
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize("case", DST, ids=[case["id"] for case in DST])
def test_days_over_a_change_of_the_clock(case: dict[str, dict[str, object]]) -> None:
    zone = str(case["in"]["windowTimeZone"])
    out = case["out"]
    first = str(case["in"]["from"]).removesuffix(" local")
    end = datetime.fromisoformat(first) + timedelta(days=int(str(out["rows"])))
    days = list(
        pairwise(time_window.boundaries("DAY", ZoneInfo(zone), at(first, zone), at(end.isoformat(), zone)))
    )
    assert len(days) == out["rows"]
    assert all(local(start, zone)[11:16] == "00:00" for start, _ in days)
    dst = out["dstDay"]
    assert isinstance(dst, dict)
    start, end_s = days[dst["index"]]
    assert local(start, zone)[:16] == dst["windowStart"].removesuffix(" local").replace(" ", "T")
    assert local(end_s, zone)[:16] == dst["windowEnd"].removesuffix(" local").replace(" ", "T")
    assert end_s - start == (23 if "spring" in str(case["id"]) else 25) * 3600


def test_both_cases_are_there() -> None:
    assert len(DST) == 2


BOUNDS = [
    ("DAY", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"),
    ("DAY", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-03T00:00-03:00", "2018-11-04T01:00-02:00"),
    ("DAY", "America/Sao_Paulo", "2018-02-17T23:30", "2018-02-17T00:00-02:00", "2018-02-18T00:00-03:00"),
    ("DAY", "Asia/Beirut", "2022-03-27T12:00", "2022-03-27T01:00+03:00", "2022-03-28T00:00+03:00"),
    ("DAY", "Pacific/Apia", "2011-12-29T12:00", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00"),
    ("DAY", "Asia/Kolkata", "2024-05-01T03:00", "2024-05-01T00:00+05:30", "2024-05-02T00:00+05:30"),
    ("DAY", "America/St_Johns", "2010-11-07T00:00", "2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"),
    ("HOUR", "Asia/Kathmandu", "2024-05-01T03:20", "2024-05-01T03:00+05:45", "2024-05-01T04:00+05:45"),
    ("HOUR", "Australia/Lord_Howe", "2024-10-06T02:40", "2024-10-06T02:30+11:00", "2024-10-06T03:00+11:00"),
    ("HOUR", "Australia/Lord_Howe", "2024-04-07T01:10", "2024-04-07T01:00+11:00", "2024-04-07T01:30+10:30"),
    ("MONTH", "America/Sao_Paulo", "2018-11-10T00:00", "2018-11-01T00:00-03:00", "2018-12-01T00:00-02:00"),
    ("MONTH", "Europe/Berlin", "2024-02-29T23:59", "2024-02-01T00:00+01:00", "2024-03-01T00:00+01:00"),
    ("MONTH", "America/Los_Angeles", "2025-12-31T23:00", "2025-12-01T00:00-08:00", "2026-01-01T00:00-08:00"),
    ("MINUTE", "Asia/Kolkata", "2024-05-01T03:20:59", "2024-05-01T03:20+05:30", "2024-05-01T03:21+05:30"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "zone", "instant", "start", "end"), BOUNDS)
def test_bounds(size: time_window.Size, zone: str, instant: str, start: str, end: str) -> None:
    found = time_window.bounds(size, ZoneInfo(zone), at(instant, zone))
    assert tuple(local(second, zone) for second in found) == (start, end)


def test_the_repeated_hour_is_two_hours() -> None:
    zone = "America/Los_Angeles"
    hours = time_window.boundaries(
        "HOUR", ZoneInfo(zone), at("2025-11-02T00:00", zone), at("2025-11-02T04:00", zone)
    )
    assert [local(hour, zone)[11:] for hour in hours] == [
        "00:00-07:00", "01:00-07:00", "01:00-08:00", "02:00-08:00", "03:00-08:00", "04:00-08:00",
    ]  # fmt: skip


def test_a_half_hour_change_makes_a_half_hour_window() -> None:
    zone = "Australia/Lord_Howe"
    hours = time_window.boundaries(
        "HOUR", ZoneInfo(zone), at("2024-04-07T01:00", zone), at("2024-04-07T03:00", zone)
    )
    assert [local(hour, zone)[11:] for hour in hours] == [
        "01:00+11:00", "01:30+10:30", "02:00+10:30", "03:00+10:30",
    ]  # fmt: skip


def test_boundaries_cover_a_range_that_is_not_aligned() -> None:
    from_s, to_s = at("2024-01-31T10:30:30"), at("2024-03-01T00:00:01")
    months = time_window.boundaries("MONTH", ZoneInfo("UTC"), from_s, to_s)
    assert months == [at(f"2024-0{month}-01T00:00") for month in (1, 2, 3, 4)]
    minutes = time_window.boundaries("MINUTE", ZoneInfo("UTC"), from_s, from_s + 31)
    assert minutes == [at("2024-01-31T10:30"), at("2024-01-31T10:31"), at("2024-01-31T10:32")]
    assert time_window.boundaries("DAY", ZoneInfo("UTC"), to_s, to_s) == []


@pytest.mark.parametrize(
    ("time_ns", "start_s"),
    [
        (0, 0),
        (59_999_999_999, 0),
        (60_000_000_000, 60),
        (1_704_067_199_999_999_999, 1_704_067_140),
        (-1, -60),
    ],
)
def test_nanoseconds_are_never_rounded_up(time_ns: int, start_s: int) -> None:
    assert time_window.minute_s(time_ns) == start_s


@pytest.mark.parametrize("at_s", [-(10**12), 10**12, 253_402_300_799])
def test_a_time_beyond_the_calendar_is_refused(at_s: int) -> None:
    with pytest.raises(Rejected):
        time_window.bounds("DAY", ZoneInfo("UTC"), at_s)


@given(st.sampled_from(time_window.SIZES), st.sampled_from(ZONES), YEARS)
@example("DAY", "America/St_Johns", at("2010-11-07T00:00:30", "America/St_Johns"))
@example("DAY", "America/St_Johns", at("2010-11-06T23:30", "America/St_Johns", fold=1))
@example("MONTH", "Pacific/Kiritimati", at("1995-01-01T12:00"))
def test_each_instant_lies_in_one_window_and_windows_touch(
    size: time_window.Size, name: str, at_s: int
) -> None:
    zone = ZoneInfo(name)
    start, end = time_window.bounds(size, zone, at_s)
    assert start <= at_s < end
    assert time_window.bounds(size, zone, start) == time_window.bounds(size, zone, end - 1) == (start, end)
    assert time_window.bounds(size, zone, end)[0] == end
    assert time_window.bounds(size, zone, start - 1)[1] == start
    assert start % 60 == end % 60 == 0


@given(st.sampled_from(["HOUR", "DAY", "MONTH"]), st.sampled_from(ZONES), YEARS, st.integers(1, 3 * 86_400))
def test_boundaries_are_the_bounds_of_every_instant(
    size: time_window.Size, name: str, from_s: int, length_s: int
) -> None:
    zone = ZoneInfo(name)
    found = time_window.boundaries(size, zone, from_s, from_s + length_s)
    assert found == sorted(set(found))
    assert found[0] <= from_s
    assert found[-1] >= from_s + length_s
    for start, end in pairwise(found):
        assert time_window.bounds(size, zone, start) == (start, end)
