"""Zones in which calendars step: an IANA name, or the fixed offset that an RFC 3339 timestamp carries.

Owns: which names are taken, their rules, instants as local text. Does not own: calendar steps (calendar), windows of
queries (time_window). A zone is kept as text: `Z`, `+01:00` or `Europe/Berlin`.
"""

from __future__ import annotations

from datetime import UTC as UTC_ZONE
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from pipeline.errors import Rejected

UTC: Final = "Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC_ZONE)
_SECOND = timedelta(seconds=1)


def named(name: str) -> str:
    """Check the name of a zone.

    Only names of the IANA database count, so that a name means the same on every machine: `localtime`, `posixrules`
    and other files of a machine are refused, and so is `Factory`, which means that no zone is set.

    Args:
        name: as a user sent it.

    Returns:
        The name itself.

    Raises:
        Rejected: `bad-zone`, with OpenMeter's sentence.
    """
    if name not in _names():
        shown = ascii(name)[1:-1][:64]
        raise Rejected("bad-zone", f"invalid time zone: {shown}")
    return name


@cache
def _names() -> frozenset[str]:
    listed = resources.files("tzdata").joinpath("zones").read_text("ascii").split()
    return frozenset(listed) - {"Factory"}


def offset_of(timestamp: str) -> str:
    """The offset of a well-formed RFC 3339 timestamp, as a zone.

    >>> offset_of("2026-03-01T00:00:00+01:00"), offset_of("2026-03-01T00:00:00-00:00")
    ('+01:00', 'Z')
    """
    offset = timestamp[-6:]
    return UTC if timestamp[-1] in "zZ" or offset[1:] == "00:00" else offset


def named_or_offset(name: str | None, timestamp: str) -> str:
    """The zone in which a calendar steps: the named one, else the offset of its first instant.

    >>> named_or_offset(None, "2026-03-01T00:00:00+01:00"), named_or_offset("Asia/Tokyo", "2026-03-01T00:00:00Z")
    ('+01:00', 'Asia/Tokyo')
    """
    return offset_of(timestamp) if name is None else name


@lru_cache(maxsize=4096)
def rules_of(zone: str) -> tzinfo:
    """The rules of a zone that was checked when it was stored."""
    seconds = fixed_s(zone)
    return ZoneInfo(zone) if seconds is None else timezone(timedelta(seconds=seconds))


@lru_cache(maxsize=4096)
def fixed_s(zone: str) -> int | None:
    """Seconds that a fixed offset is ahead of UTC; None for a name."""
    if zone == UTC:
        return 0
    if zone[0] not in "+-":
        return None
    ahead_s = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return ahead_s if zone[0] == "+" else -ahead_s


def text_of(at_s: int, zone: str = UTC) -> str:
    """An instant in RFC 3339 with milliseconds, as the clock of the zone shows it.

    Where that clock was off by a fraction of a minute, as clocks were in the 19th century, the text is in UTC: an
    RFC 3339 offset has no seconds.

    Args:
        at_s: seconds since 1970, in years 1 to 9998.

    >>> text_of(1_772_319_600, "Europe/Berlin"), text_of(1_772_319_600)
    ('2026-03-01T00:00:00.000+01:00', '2026-02-28T23:00:00.000Z')
    """
    at = _EPOCH + timedelta(seconds=at_s)
    if zone != UTC:
        at = at.astimezone(rules_of(zone))
        if (at.utcoffset() or timedelta()) // _SECOND % 60:
            at = at.astimezone(UTC_ZONE)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
