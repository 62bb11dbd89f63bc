"""Instants of the control log: milliseconds since 1970 to and from RFC 3339 in UTC.

Owns: the one spelling that definitions hold (`2026-01-31T12:00:00.123Z`). Does not own: the grammar
(rfc3339), the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.core import rfc3339

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(at_ms: int) -> str:
    """`at_ms` as RFC 3339 with milliseconds, in UTC."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms_of(text: str) -> int:
    """Milliseconds of an RFC 3339 timestamp, rounded down. Raises Rejected `bad-time`."""
    return rfc3339.parse_ns(text) // 1_000_000
