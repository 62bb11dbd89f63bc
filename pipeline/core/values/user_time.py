"""Instants as users write them.

Owns: RFC 3339 or a bare date, to nanoseconds. Does not own: what is done with a range (core.metering.usage_query).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from pipeline.core.values import timestamp
from pipeline.core.values.zone import named
from pipeline.errors import Rejected

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def instant_ns(name: str, text: str | None, tz: str = "UTC") -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time, or of the midnight that begins a date in zone `tz`.

    None stays None. Raises Rejected `bad-query` that names the parameter.
    """
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            midnight = datetime.combine(date.fromisoformat(text), time.min, tzinfo=ZoneInfo(named(tz)))
            since = midnight.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
            return (since.days * 86_400 + since.seconds) * 1_000_000_000
        return timestamp.parse_ns(text)
    except (Rejected, ValueError, OverflowError) as error:
        detail = error.detail if isinstance(error, Rejected) else str(error)
        if isinstance(error, Rejected) and error.reason == "bad-zone":
            raise Rejected("bad-query", detail) from error
        raise Rejected(
            "bad-query", f"{name} is {text!r}, which is no RFC 3339 time and no date: {detail}"
        ) from error
