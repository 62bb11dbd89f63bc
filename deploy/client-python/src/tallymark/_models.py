"""The contents of responses as typed values.

Owns: the classes, and reading each from JSON. Does not own: the requests (_api).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from tallymark._time import instant

Aggregation: TypeAlias = Literal["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]
Window: TypeAlias = Literal["MINUTE", "HOUR", "DAY", "MONTH"]
JSON: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True)
class Usage:
    """Usage in the window [window_start, window_end), in UTC.

    value: exact. subject, customer_id: None unless requested. group_by: the requested dimensions; "" if an event had
    none. count: number of events, None if unknown.
    """

    value: Decimal
    window_start: datetime | None
    window_end: datetime | None
    subject: str | None = None
    customer_id: str | None = None
    group_by: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None


@dataclass(frozen=True)
class Meter:
    """A meter. value_property and the values of group_by are JSONPaths into an event's data."""

    slug: str
    event_type: str
    aggregation: str
    value_property: str | None = None
    group_by: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    event_from: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    json: JSON = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class StoredEvent:
    """A stored event with its fate.

    event: the CloudEvent, or None if it was invalid. fate: counted, duplicate, conflict, rejected, invalid, unmetered,
    voided or pending; reason and detail explain why it was not counted. meters: slugs of those that counted it.
    json: the whole response.
    """

    event: JSON | None
    fate: str
    reason: str
    detail: str
    meters: tuple[str, ...]
    json: JSON = field(repr=False, compare=False)


def read_usage(row: JSON) -> Usage:
    start, end, count = row.get("windowStart"), row.get("windowEnd"), row.get("count")
    groups = {name: "" if value is None else str(value) for name, value in (row.get("groupBy") or {}).items()}
    return Usage(
        value=Decimal(row["value"]),
        window_start=None if start is None else instant(start),
        window_end=None if end is None else instant(end),
        subject=row.get("subject"),
        customer_id=row.get("customerId"),
        group_by=groups,
        count=None if count is None else int(count),
    )


def read_meter(body: JSON) -> Meter:
    return Meter(
        slug=body["slug"],
        event_type=body["eventType"],
        aggregation=body["aggregation"],
        value_property=body.get("valueProperty"),
        group_by=body.get("groupBy") or {},
        name=body.get("name"),
        description=body.get("description"),
        event_from=instant(body["eventFrom"]) if body.get("eventFrom") else None,
        metadata=body.get("metadata") or {},
        id=str(body.get("id", "")),
        json=body,
    )


def read_event(body: JSON) -> StoredEvent:
    return StoredEvent(
        event=body.get("event"),
        fate=str(body.get("fate") or ""),
        reason=str(body.get("reason") or ""),
        detail=str(body.get("detail") or ""),
        meters=tuple(body.get("meters") or ()),
        json=body,
    )
