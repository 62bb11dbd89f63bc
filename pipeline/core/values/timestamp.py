"""RFC 3339 timestamps: to integer nanoseconds and milliseconds, and back to the one spelling that definitions hold.

Owns: the grammar of RFC 3339 section 5.6 and its exact value, the spelling `2026-01-31T12:00:00.123Z`. Does not own:
which times are taken (metering.event), the clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pipeline.errors import Rejected

_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SHAPE = re.compile(
    rf"\d{{4}}-\d\d-\d\d[Tt]{_HOUR_MINUTE}:[0-5]\d(?:\.\d{{1,9}})?(?:[Zz]|[+-]{_HOUR_MINUTE})", re.ASCII
).fullmatch
_LEAP_SECOND = re.compile(r".{16}:60(?:\D|$)").match
_LOST_PLUS = re.compile(r".{16,29} \d\d:\d\d", re.ASCII).fullmatch
_LONG_FRACTION = re.compile(r".{19}\.\d{10}", re.ASCII).match

_EPOCH = datetime(1970, 1, 1)
_NS_PER_S = 1_000_000_000
_FIRST_NS = (datetime.min - _EPOCH) // timedelta(seconds=1) * _NS_PER_S
_END_NS = ((datetime.max - _EPOCH) // timedelta(seconds=1) + 1) * _NS_PER_S
_SCALE: tuple[int, ...] = tuple(
    int(10 ** (9 - digits)) for digits in range(10)
)  # by the number of fraction digits

_SECONDS_NS = {f"{second:02}": second * _NS_PER_S for second in range(60)}
_MINUTES_NS: dict[str, int] = {}  # a memo by `2024-05-01T12:00:`; most events share their minute
_MEMO_MINUTES = 65_536  # more than a horizon of them
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)


def parse_ns(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 timestamp, exactly; any offset, years 1 to 9999 in UTC.

    Lower-case `t` and `z` are taken. A leap second (:60) and more than nine fraction digits are refused:
    neither has an exact nanosecond here. Raises Rejected("bad-time").
    """
    minute_ns, second_ns = _MINUTES_NS.get(text[:17]), _SECONDS_NS.get(text[17:19])
    if minute_ns is not None and second_ns is not None:
        digits = text[20:-1]
        if (
            digits.isdecimal()
            and digits.isascii()
            and text[-1] == "Z"
            and text[19] == "."
            and len(digits) < 10
        ):
            return minute_ns + second_ns + int(digits) * _SCALE[len(digits)]
        if text[19:] == "Z":
            return minute_ns + second_ns
    return _parse_ns(text)


def _parse_ns(text: str) -> int:
    if _SHAPE(text) is None:
        raise Rejected("bad-time", _why_not(text))
    try:
        since = datetime.fromisoformat(text[:16]) - _EPOCH
    except ValueError:
        raise Rejected("bad-time", f"time {text[:40]!r} names a day that no calendar has.") from None
    minute_ns = (since.days * 86_400 + since.seconds) * _NS_PER_S
    if len(_MINUTES_NS) >= _MEMO_MINUTES:
        _MINUTES_NS.clear()
    _MINUTES_NS[text[:17]] = minute_ns
    time_ns = minute_ns + _SECONDS_NS[text[17:19]]
    offset_at = len(text) - 1
    if text[offset_at] not in "Zz":
        offset_at -= 5
        offset_ns = (int(text[-5:-3]) * 60 + int(text[-2:])) * 60 * _NS_PER_S
        time_ns += offset_ns if text[offset_at] == "-" else -offset_ns
    if offset_at > 19:
        time_ns += int(text[20:offset_at]) * _SCALE[offset_at - 20]
    if not _FIRST_NS <= time_ns < _END_NS:
        raise Rejected("bad-time", f"time {text[:40]!r} lies outside of the years 1 to 9999 in UTC.")
    return time_ns


def _why_not(text: str) -> str:
    shown = repr(text[:40])
    if _LEAP_SECOND(text):
        return f"time {shown} is a leap second; send it as second 59."
    if _LONG_FRACTION(text):
        return f"time {shown} has more than nine digits after the point; nanoseconds are the finest kept."
    if _LOST_PLUS(text):
        return f"time {shown} has a space before its offset: in a URL a + has to be sent as %2B."
    return f"time {shown} is not an RFC 3339 timestamp such as 2024-05-01T12:00:00Z."


def text_of(at_ms: int) -> str:
    """`at_ms` as RFC 3339 with milliseconds, in UTC. Raises Rejected `bad-time` outside of the years 1 to 9999."""
    try:
        at = _EPOCH_UTC + timedelta(milliseconds=at_ms)
    except OverflowError:
        raise Rejected("bad-time", "An instant lies outside of the years 1 to 9999.") from None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms_of(text: str) -> int:
    """Milliseconds of an RFC 3339 timestamp, rounded down. Raises Rejected `bad-time`."""
    return parse_ns(text) // 1_000_000


def minute_s(text: str) -> int:
    """The start of the minute of an RFC 3339 timestamp, in seconds since 1970. Raises Rejected `bad-time`."""
    return parse_ns(text) // 60_000_000_000 * 60
