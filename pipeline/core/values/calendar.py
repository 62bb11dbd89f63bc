"""Intervals of the calendar and what recurs by them: usage periods and the ticks of grants.

Owns: interval grammar (DAY, WEEK, MONTH, YEAR or ISO 8601), calendar arithmetic in UTC, periods, the schedule of
resets. Does not own: local zones (time_window), what happens at a reset (quota.burndown).
Instants are whole seconds since 1970, on whole minutes. Periods are [start, end): they tile all time without gaps.
The calendar is the proleptic Gregorian one and has no end, so no year is out of range.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from pipeline.errors import Rejected

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
NEVER_S = 1 << 62  # later than every instant

MAX_MONTHS = 12_000
_MONTH_MEAN_S = 2_629_746  # a twelfth of the mean Gregorian year
_ISO = re.compile(
    r"P(?:(\d{1,6})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,6})D)?"
    r"(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?",
    re.ASCII,
)


class Interval(NamedTuple):
    """A step of the calendar: first whole months, then seconds. A day is always 24 h, as in UTC."""

    months: int
    seconds: int


NAMED: dict[str, Interval] = {
    "HOUR": Interval(0, HOUR_S),
    "DAY": Interval(0, DAY_S),
    "WEEK": Interval(0, 7 * DAY_S),
    "MONTH": Interval(1, 0),
    "YEAR": Interval(12, 0),
}


class Recurrence(NamedTuple):
    """Ticks at anchor + k intervals for every whole k, also before the anchor."""

    interval: Interval
    anchor_s: int


class Reset(NamedTuple):
    """A manual reset. anchor_s: the anchor of the usage periods from then on. preserve: whether overage stays."""

    at_s: int
    anchor_s: int
    preserve: bool


class Schedule(NamedTuple):
    """The usage periods of an entitlement: from `start_s`, by interval and anchor, cut by manual resets (in order)."""

    start_s: int
    recurrence: Recurrence
    resets: tuple[Reset, ...] = ()


def parse(text: object, least_s: int = HOUR_S) -> Interval:
    """The interval that `text` names. Raises Rejected `bad-interval`; `least_s`: the shortest one taken.

    No fractions, no signs, whole minutes: usage is kept by the minute.
    """
    if not isinstance(text, str):
        raise Rejected("bad-interval", "interval must be a string such as MONTH or P1M")
    if text in NAMED:
        return NAMED[text]
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        raise Rejected(
            "bad-interval", f"interval {text[:40]!r} is not DAY, WEEK, MONTH, YEAR or an ISO 8601 duration"
        )
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    interval = Interval(
        years * 12 + months, (weeks * 7 + days) * DAY_S + hours * HOUR_S + minutes * MINUTE_S + seconds
    )
    if interval.seconds % MINUTE_S:
        raise Rejected("bad-interval", f"interval {text[:40]} must be whole minutes")
    if not interval.months and interval.seconds < least_s:
        raise Rejected("bad-interval", f"interval {text[:40]} must be at least {iso(Interval(0, least_s))}")
    if interval.months > MAX_MONTHS or interval.seconds > MAX_MONTHS * _MONTH_MEAN_S:
        raise Rejected("bad-interval", f"interval {text[:40]} must be at most 1000 years")
    return interval


def iso(interval: Interval) -> str:
    """ISO 8601 text of an interval: P1M, P7D, PT1H."""
    years, months = divmod(interval.months, 12)
    days, rest = divmod(interval.seconds, DAY_S)
    hours, rest = divmod(rest, HOUR_S)
    minutes, seconds = divmod(rest, MINUTE_S)
    date = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (months, "M"), (days, "D")) if count)
    time = "".join(
        f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count
    )
    if not date and not time:
        return "PT0S"
    return f"P{date}T{time}" if time else f"P{date}"


def floor_minute(at_s: int) -> int:
    """Start of the minute of an instant."""
    return at_s // MINUTE_S * MINUTE_S


def ceil_minute(at_s: int) -> int:
    """The instant itself on a whole minute, else the start of the next one."""
    return -(-at_s // MINUTE_S) * MINUTE_S


def add(at_s: int, interval: Interval, times: int = 1, overflow: bool = False) -> int:
    """`at_s` plus `times` intervals (negative: before). Counted from `at_s` at once, so month ends do not drift.

    A day that the month lacks becomes the month's last one; with `overflow` it runs into the next month
    (31 January + 1 month = 3 March, or 2 March in leap years), as Go's AddDate does.
    """
    if interval.months:
        day, second = divmod(at_s, DAY_S)
        year, month, monthday = _civil(day)
        years, month = divmod(month - 1 + interval.months * times, 12)
        first = _days(year + years, month + 1, 1)
        if not overflow:
            monthday = min(monthday, _days(year + years + (month == 11), (month + 1) % 12 + 1, 1) - first)
        at_s = (first + monthday - 1) * DAY_S + second
    return at_s + interval.seconds * times


def index(recurrence: Recurrence, at_s: int) -> int:
    """The k of the period in which `at_s` lies: tick k <= at_s < tick k + 1."""
    interval, anchor_s = recurrence
    mean_s = interval.months * _MONTH_MEAN_S + interval.seconds
    k = (at_s - anchor_s) // mean_s
    while add(anchor_s, interval, k) > at_s:
        k -= 1
    while add(anchor_s, interval, k + 1) <= at_s:
        k += 1
    return k


def bounds(recurrence: Recurrence, at_s: int) -> tuple[int, int]:
    """[start, end) of the period in which `at_s` lies."""
    k = index(recurrence, at_s)
    return add(recurrence.anchor_s, recurrence.interval, k), add(
        recurrence.anchor_s, recurrence.interval, k + 1
    )


def next_tick(recurrence: Recurrence, after_s: int) -> int:
    """The first tick later than `after_s`."""
    return bounds(recurrence, after_s)[1]


def is_tick(recurrence: Recurrence, at_s: int) -> bool:
    """Whether a tick falls on `at_s`."""
    return bounds(recurrence, at_s)[0] == at_s


def _in_force(schedule: Schedule, at_s: int) -> tuple[int, Recurrence, int]:
    """Since when the recurrence at `at_s` is in force, that recurrence, and the next manual reset (or never)."""
    place = bisect_right(schedule.resets, at_s, key=lambda reset: reset.at_s)
    following_s = schedule.resets[place].at_s if place < len(schedule.resets) else NEVER_S
    if not place:
        return schedule.start_s, schedule.recurrence, following_s
    reset = schedule.resets[place - 1]
    return reset.at_s, Recurrence(schedule.recurrence.interval, reset.anchor_s), following_s


def usage_period(schedule: Schedule, at_s: int) -> tuple[int, int]:
    """[start, end) of the usage period of `at_s`, cut by the schedule's start and by manual resets."""
    since_s, recurrence, following_s = _in_force(schedule, at_s)
    start_s, end_s = bounds(recurrence, at_s)
    if at_s < since_s:  # before the schedule's start
        return start_s, min(end_s, since_s)
    return max(start_s, since_s), min(end_s, following_s)


def manual_reset(schedule: Schedule, at_s: int) -> Reset | None:
    """The manual reset at exactly that instant."""
    place = bisect_right(schedule.resets, at_s, key=lambda reset: reset.at_s) - 1
    return schedule.resets[place] if place >= 0 and schedule.resets[place].at_s == at_s else None


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date. Counts years from March, so that the leap day comes last."""
    year -= month <= 2
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719_468


def _civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of a count of days since 1970-01-01."""
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return era * 400 + year + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1
