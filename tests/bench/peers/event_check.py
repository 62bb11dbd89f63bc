"""What the Python engines beside Tallymark check of an event, so that they do the same work.

It imports nothing but Python's own modules, because Quix Streams runs in an environment without Tallymark.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

HORIZON = timedelta(days=32)
FUTURE = timedelta(days=1)


def check(value: bytes) -> dict[str, Any] | None:
    """The event with its minute, or None for what is none."""
    try:
        event = json.loads(value, parse_float=str)  # a float would not be exact
        if not isinstance(event, dict) or event["specversion"] != "1.0":
            return None
        if not all(
            isinstance(event[name], str) and event[name] for name in ("id", "source", "type", "subject")
        ):
            return None
        if not isinstance(event.get("data"), dict | None):
            return None
        now = datetime.now(UTC)
        at = datetime.fromisoformat(event["time"]) if "time" in event else now
        event["minute"] = int(at.timestamp()) // 60 * 60
        event["subject"].encode()
        return event if now - HORIZON <= at <= now + FUTURE else None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
