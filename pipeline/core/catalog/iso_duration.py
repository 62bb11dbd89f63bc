"""Durations of the catalog: how long a phase lasts, how often a rate card is billed.

Owns: reading an ISO 8601 duration that may be negative, its shortest length, whether one divides another. Does not own:
stepping through a calendar (values.calendar), which length is allowed (the validation modules). The text is stored as
it was sent; nothing shorter than a minute is accepted, since usage is kept by the minute.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.core.definitions.body import BodyReader
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S

MOST_MONTHS = 12_000
MOST_S = 366 * DAY_S * 1000
MONTH_DAYS = (28, 29, 30, 31)  # a rule about months holds for each of these lengths
_ISO = re.compile(
    r"(-?)P(?:(\d{1,6})Y)?(?:(\d{1,6})M)?(?:(\d{1,6})W)?(?:(\d{1,6})D)?"
    r"(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?",
    re.ASCII,
)


class IsoDuration(NamedTuple):
    """Months, and seconds of whole minutes in which a day has 24 hours. Both are negative or neither is."""

    months: int
    seconds: int

    def length_s(self, month_days: int) -> int:
        """Its length in seconds where a month has so many days."""
        return self.months * month_days * DAY_S + self.seconds

    @property
    def is_negative(self) -> bool:
        return self.months < 0 or self.seconds < 0

    @property
    def is_below_an_hour(self) -> bool:
        return self.length_s(MONTH_DAYS[0]) < HOUR_S


def duration_of(text: str) -> IsoDuration | None:
    """The duration that a text names; None if it names none.

    >>> duration_of("P1Y1M"), duration_of("-P1W"), duration_of("P")
    (IsoDuration(months=13, seconds=0), IsoDuration(months=0, seconds=-604800), None)
    """
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()[1:]):
        return None
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    sign = -1 if found[1] else 1
    whole = (weeks * 7 + days) * DAY_S + hours * HOUR_S + minutes * MINUTE_S + seconds
    duration = IsoDuration(sign * (years * 12 + months), sign * whole)
    if whole % MINUTE_S or abs(duration.months) > MOST_MONTHS or whole > MOST_S:
        return None
    return duration


def exact_duration(text: str) -> IsoDuration:
    """The duration of a stored text."""
    duration = duration_of(text)
    return IsoDuration(0, 0) if duration is None else duration


def read_duration(sent: BodyReader, name: str) -> str | None:
    """The text of a duration in a body; None where it is absent or null. Refuses what is no duration."""
    text = sent.text(name, 64)
    if text is not None and duration_of(text) is None:
        sent.refuse(
            f"{sent.kind} {name} must be an ISO 8601 duration of whole minutes and at most 1000 years, such as P1M"
        )
    return text


def are_equal(one: str, other: str) -> bool:
    """Whether two stored durations are always equally long: P1Y and P12M are, P1M and P30D are not."""
    return exact_duration(one) == exact_duration(other)


def are_aligned(one: str, other: str) -> bool:
    """Whether one stored duration is a whole multiple of the other, for every length of a month.

    >>> are_aligned("P1M", "P3M"), are_aligned("P1D", "P1M"), are_aligned("P1W", "P1M"), are_aligned("PT0S", "P1M")
    (True, True, False, False)
    """
    first, second = exact_duration(one), exact_duration(other)
    return first == second or _divides(first, second) or _divides(second, first)


def _divides(part: IsoDuration, whole: IsoDuration) -> bool:
    lengths = [(part.length_s(days), whole.length_s(days)) for days in MONTH_DAYS]
    return all(short > 0 and long > 0 and not long % short for short, long in lengths)
