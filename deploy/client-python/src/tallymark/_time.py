"""Instants in requests and responses.

Owns: RFC 3339 to datetime and back. Does not own: the time of an event (_event).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timezone

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


def instant(text: str) -> datetime:
    """The datetime in UTC; digits beyond microseconds are dropped. Raises ValueError."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    at = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{zone}")
    return at.astimezone(timezone.utc)


def asked(name: str, at: datetime | date | str) -> str:
    """A bound of a query as text. A date is its midnight in the zone of the query.

    Raises ValueError for a datetime without zone.
    """
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise ValueError(f"{name} is {at}, which has no zone")
        return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return at if isinstance(at, str) else at.isoformat()
