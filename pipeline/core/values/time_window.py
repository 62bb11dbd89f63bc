"""Windows of time: UTC minutes in state; hours, days and months in any IANA zone for queries.

Owns: where a window starts and ends. Does not own: what is summed in it, which names of zones are taken (zone).
All windows are [start, end) in whole seconds since 1970. Every instant lies in exactly one window of a size; a
window ends where the next one starts. A DAY or MONTH starts when the local clock first reaches that midnight, or jumps
past it. An HOUR starts at each full local hour and at each change of the offset, so the repeated hour in autumn is
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pipeline.errors import Rejected

Size = Literal["MINUTE", "HOUR", "DAY", "MONTH"]
SIZES: tuple[Size, ...] = ("MINUTE", "HOUR", "DAY", "MONTH")

MINUTE_S = 60
MINUTE_NS = MINUTE_S * 1_000_000_000
_HOUR_S = 3600
_LATEST_S = 253_370_764_800  # 9999-01-01: beyond it the calendar of the language ends
_EARLIEST_S = -62_104_060_800  # 0002-01-01
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def minute_s(time_ns: int) -> int:
    """Start of the UTC minute of an instant, in seconds since 1970. Nanoseconds are cut, never rounded up."""
    return time_ns // MINUTE_NS * MINUTE_S


def bounds(size: Size, zone: ZoneInfo, at_s: int) -> tuple[int, int]:
    """[start, end) in seconds of the window in which `at_s` lies. Raises Rejected outside years 2 to 9998."""
    if not _EARLIEST_S <= at_s < _LATEST_S:
        raise Rejected("bad-time", "the time must lie between the years 2 and 9998")
    if size == "MINUTE":
        start_s = at_s // MINUTE_S * MINUTE_S
        return start_s, start_s + MINUTE_S
    if size == "HOUR":
        return _hour(zone, at_s)
    return _days(zone, at_s, _next_day if size == "DAY" else _next_month, size == "MONTH")


def boundaries(size: Size, zone: ZoneInfo, from_s: int, to_s: int) -> list[int]:
    """Starts of all windows that touch [from_s, to_s), then the end of the last one; two in a row bound a window."""
    if from_s >= to_s:
        return []
    if size == "MINUTE":
        first_s, last_s = bounds(size, zone, from_s)[0], bounds(size, zone, to_s - 1)[1]
        return list(range(first_s, last_s + 1, MINUTE_S))
    start_s, end_s = bounds(size, zone, from_s)
    found = [start_s, end_s]
    while end_s < to_s:
        end_s = bounds(size, zone, end_s)[1]
        found.append(end_s)
    return found


def _offset_s(zone: ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None  # an aware datetime has one
    return offset // _SECOND


def _change_s(zone: ZoneInfo, before_s: int, after_s: int) -> int:
    """First second in (before_s, after_s] with the offset of after_s, which differs from that of before_s."""
    offset_s = _offset_s(zone, after_s)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(zone, middle_s) == offset_s:
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s


def _hour(zone: ZoneInfo, at_s: int) -> tuple[int, int]:
    offset_s = _offset_s(zone, at_s)
    start_s = at_s - (at_s + offset_s) % _HOUR_S
    end_s = start_s + _HOUR_S
    if _offset_s(zone, start_s) != offset_s:
        start_s = _change_s(zone, start_s, at_s)
    if _offset_s(zone, end_s - 1) != offset_s:
        end_s = _change_s(zone, at_s, end_s - 1)
    return start_s, end_s


def _days(zone: ZoneInfo, at_s: int, next_: Callable[[date], date], month: bool) -> tuple[int, int]:
    day = datetime.fromtimestamp(at_s, zone).date()
    if month:
        day = day.replace(day=1)
    following = next_(day)
    end_s = _midnight_s(zone, following)
    # Where the clock falls back over midnight, the local date returns to a day that has already ended.
    while end_s <= at_s:
        day, following = following, next_(following)
        end_s = _midnight_s(zone, following)
    return _midnight_s(zone, day), end_s


def _midnight_s(zone: ZoneInfo, day: date) -> int:
    """First second at which the local clock shows that day's midnight or a later time."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    wall_s = (midnight.replace(tzinfo=UTC) - _EPOCH) // _SECOND
    early, late = ((midnight.replace(fold=fold).astimezone(UTC) - _EPOCH) // _SECOND for fold in (0, 1))
    if early + _offset_s(zone, early) == wall_s:
        return early
    # The clock jumps over this midnight, so the two readings lie on both sides of the jump.
    return _change_s(zone, min(early, late) - 1, max(early, late))


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
