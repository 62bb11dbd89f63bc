"""Instants of answers and questions.

Owns: RFC 3339 to datetime and back. Does not own: the time of an event (_event).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timezone

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


def instant(text: str) -> datetime:
    """The datetime, in UTC; digits beyond the microsecond are left out. Raises ValueError."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    at = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{zone}")
    return at.astimezone(timezone.utc)


def asked(name: str, at: datetime | date | str) -> str:
    """A bound of a question as text. A date is its first midnight in the zone of the question.

    Raises ValueError for a datetime without zone.
    """
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise ValueError(f"{name} is {at}, which has no zone")
        return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return at if isinstance(at, str) else at.isoformat()
