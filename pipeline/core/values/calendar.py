"""Intervals of the calendar and what recurs by them: usage periods and the ticks of grants.

Owns: interval grammar (DAY, WEEK, MONTH, YEAR or ISO 8601), calendar steps in a zone, periods, the schedule of resets.
Does not own: zones (zone), windows of queries (time_window), what happens at a reset (quota.burndown).
Instants are seconds since 1970, in years 1 to 9998; those of usage periods are whole minutes, those of billing may have
any second. A step that leaves these years ends at their border, and definitions that would need it are refused. Periods
are [start, end): they tile all time without gaps.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from pipeline.core.values import zone as zones
from pipeline.errors import Rejected

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
NEVER_S = 1 << 62  # later than every instant
EARLIEST_S = -62_135_596_800  # 0001-01-01
LATEST_S = 253_370_764_800  # 9999-01-01: the calendar ends before it

MAX_MONTHS = 12_000
_MONTH_MEAN_S = 2_629_746  # a twelfth of the mean Gregorian year
_STEPS_KEPT = 1 << 16  # the same few ticks of an account are asked for by every record
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_ISO = re.compile(
    r"P(?:(\d{1,6})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,6})D)?"
    r"(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?",
    re.ASCII,
)


class Interval(NamedTuple):
    """A step of the calendar: first months and days of the local calendar, then seconds as they pass.

    A day of the calendar has 23 to 25 hours where the clock changes; 24 hours are always 24 hours.
    """

    months: int
    seconds: int
    days: int = 0


NAMED: dict[str, Interval] = {
    "HOUR": Interval(0, HOUR_S),
    "DAY": Interval(0, 0, 1),
    "WEEK": Interval(0, 0, 7),
    "MONTH": Interval(1, 0),
    "YEAR": Interval(12, 0),
}


class Recurrence(NamedTuple):
    """Ticks at anchor + k intervals for every whole k, also before the anchor. zone: in which the calendar steps."""

    interval: Interval
    anchor_s: int
    zone: str = zones.UTC


class Reset(NamedTuple):
    """A manual reset. anchor_s, zone: of the usage periods from then on. preserve: whether overage stays."""

    at_s: int
    anchor_s: int
    preserve: bool
    zone: str = zones.UTC


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
    return _parse(text, least_s)


@lru_cache(maxsize=_STEPS_KEPT)
def _parse(text: str, least_s: int) -> Interval:
    if text in NAMED:
        return NAMED[text]
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        raise Rejected(
            "bad-interval", f"interval {text[:40]!r} is not DAY, WEEK, MONTH, YEAR or an ISO 8601 duration"
        )
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    interval = Interval(years * 12 + months, hours * HOUR_S + minutes * MINUTE_S + seconds, weeks * 7 + days)
    least = interval.days * DAY_S + interval.seconds
    if interval.seconds % MINUTE_S:
        raise Rejected("bad-interval", f"interval {text[:40]} must be whole minutes")
    if not interval.months and least < least_s:
        raise Rejected("bad-interval", f"interval {text[:40]} must be at least {iso(Interval(0, least_s))}")
    if interval.months > MAX_MONTHS or least > MAX_MONTHS * _MONTH_MEAN_S:
        raise Rejected("bad-interval", f"interval {text[:40]} must be at most 1000 years")
    return interval


def iso(interval: Interval) -> str:
    """ISO 8601 text of an interval: P1M, P7D, PT1H."""
    years, months = divmod(interval.months, 12)
    hours, rest = divmod(interval.seconds, HOUR_S)
    minutes, seconds = divmod(rest, MINUTE_S)
    counts = ((years, "Y"), (months, "M"), (interval.days, "D"))
    date = "".join(f"{count}{unit}" for count, unit in counts if count)
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


def add(at_s: int, interval: Interval, times: int = 1, zone: str = zones.UTC) -> int:
    """Step `times` intervals from an instant, counted from it at once, so that month ends do not drift.

    A day that the month lacks becomes the month's last one. A local time that a change of the clock skips is taken
    with the offset before the change (RFC 5545); of one that comes twice the first counts.

    Args:
        at_s: seconds since 1970.
        times: below zero for steps back.
        zone: in which months and days are counted.

    Returns:
        Seconds since 1970, with the second of `at_s`; a border of the calendar where the step leaves it.

    >>> anchor_s = 1_769_814_000  # 2026-01-31T00:00+01:00, which is 23:00 the day before in UTC
    >>> [zones.text_of(add(anchor_s, NAMED["MONTH"], k, "Europe/Berlin"), "Europe/Berlin")[:16] for k in (1, 2, 3)]
    ['2026-02-28T00:00', '2026-03-31T00:00', '2026-04-30T00:00']
    >>> [zones.text_of(add(anchor_s, NAMED["MONTH"], k, "+01:00"))[:16] for k in (1, 2, 3)]
    ['2026-02-27T23:00', '2026-03-30T23:00', '2026-04-29T23:00']
    """
    months, days = interval.months * times, interval.days * times
    if months or (days and zones.fixed_s(zone) is None):
        at_s = _step(at_s, months, days, zone)
    else:
        at_s += days * DAY_S
    return min(max(at_s + interval.seconds * times, EARLIEST_S), LATEST_S)


@lru_cache(maxsize=_STEPS_KEPT)
def _step(at_s: int, months: int, days: int, zone: str) -> int:
    rules = zones.rules_of(zone)
    try:
        local = (_EPOCH + timedelta(seconds=at_s)).astimezone(rules).replace(tzinfo=None)
        moved = (local + relativedelta(months=months, days=days)).replace(tzinfo=rules)
        # The clocks of the 19th century were not on whole minutes of UTC.
        return floor_minute((moved.astimezone(UTC) - _EPOCH) // _SECOND) + at_s % MINUTE_S
    except (ValueError, OverflowError):
        return LATEST_S if months + days > 0 else EARLIEST_S


def mean_s(interval: Interval) -> int:
    """How long an interval is on average, in seconds."""
    return interval.months * _MONTH_MEAN_S + interval.days * DAY_S + interval.seconds


def bounds(recurrence: Recurrence, at_s: int) -> tuple[int, int]:
    """[start, end) of the period in which `at_s` lies."""
    _, start_s, end_s = _period(recurrence, at_s)
    return start_s, end_s


def position(recurrence: Recurrence, at_s: int) -> int:
    """How many intervals after the anchor the period of `at_s` begins; below 0 before the anchor."""
    return _period(recurrence, at_s)[0]


@lru_cache(maxsize=_STEPS_KEPT)
def _period(recurrence: Recurrence, at_s: int) -> tuple[int, int, int]:
    at_s = min(max(at_s, EARLIEST_S), LATEST_S - 1)
    k = (at_s - recurrence.anchor_s) // mean_s(recurrence.interval)
    start_s, end_s = tick(recurrence, k), tick(recurrence, k + 1)
    while start_s > at_s:
        k -= 1
        start_s, end_s = tick(recurrence, k), start_s
    while end_s <= at_s:
        k += 1
        start_s, end_s = end_s, tick(recurrence, k + 1)
    return k, start_s, end_s


@lru_cache(maxsize=_STEPS_KEPT)
def tick(recurrence: Recurrence, k: int) -> int:
    """The tick k intervals after the anchor, counted from it at once."""
    return add(recurrence.anchor_s, recurrence.interval, k, recurrence.zone)


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
    recurrence = Recurrence(schedule.recurrence.interval, reset.anchor_s, reset.zone)
    return reset.at_s, recurrence, following_s


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
