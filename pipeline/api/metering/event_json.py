"""The form of a stored event in answers, its whole story, and the cursor of a page of events.

Owns: members and texts. Does not own: which events (stores.clickhouse.events), the value of a window
(stores.clickhouse.usage).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from pipeline.api.customers.lookup import customer_of
from pipeline.api.http.services import Neighbours
from pipeline.core.metering.extract import measure
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import instant_text, usage_query
from pipeline.core.values import number
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.time_window import MINUTE_NS
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.events import Place, StoredEvent
from pipeline.stores.clickhouse.usage import usage

REPEATS = ("duplicate", "conflict")
_NS_PER_MS = 1_000_000
_BOUNDS = Place(2**63, "", 2**32, 2**64)
_NO_DATA = ("", "null")
_place = reader_of(tuple[int, str, int, int])
Row = dict[str, Any]


def listed(have: Neighbours, namespace: str, event: StoredEvent) -> Row:
    """An event as OpenMeter lists it, with fate, reason, detail, meters and position.

    `data` is the JSON text as sent. What ingest refused has attributes only as far as they could be read, and `raw`.
    """
    shown: Row = {"event": _cloud_event(event)}
    customer = customer_of(have, namespace, event.subject)
    if customer is not None:
        shown["customerId"] = customer
    why = _validation_error(event)
    if why:
        shown["validationError"] = why
    return shown | {
        "ingestedAt": instant_text(event.received_at_ms * _NS_PER_MS),
        "storedAt": instant_text(event.stored_at_ms * _NS_PER_MS),
        "fate": event.fate,
        "reason": event.reason,
        "detail": event.detail,
        "meters": list(dict.fromkeys(event.meters)),
        "position": {"topic": event.topic, "partition": event.partition, "offset": event.offset},
        "raw": None if event.data else event.raw,
    }


def told(have: Neighbours, namespace: str, versions: Sequence[StoredEvent]) -> Row:
    """The one event among the records of a (source, id), its windows, and the other records. versions: not empty.

    A record that ingest refused never became an event; if there is no other, the last of these is told.
    """
    repeats = [one for one in versions if one.fate in REPEATS]
    refused = [one for one in versions if one.fate == "rejected" and not one.data]
    settled = [one for one in versions if one not in repeats and one not in refused]
    one = (settled or refused or repeats)[-1]
    return listed(have, namespace, one) | {
        "windows": [_window(have, namespace, one, slug) for slug in dict.fromkeys(one.meters)],
        "repeats": [listed(have, namespace, other) for other in repeats if other is not one],
        "refused": [listed(have, namespace, other) for other in refused if other is not one],
    }


def cursor_of(place: Place) -> str:
    """The text of a place; `place_of` reads it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(tuple(place))).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Raises Rejected `bad-query` for a text that is no cursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        place = Place(*_place(raw))
    except (ValueError, Rejected) as error:  # binascii.Error is a ValueError
        raise Rejected("bad-query", "the cursor is not one that this API gave") from error
    inside = abs(place.time_ns) < _BOUNDS.time_ns and len(place.topic) < 256
    if not (inside and 0 <= place.partition < _BOUNDS.partition and 0 <= place.offset < _BOUNDS.offset):
        raise Rejected("bad-query", "the cursor is not one that this API gave")
    return place


def _cloud_event(event: StoredEvent) -> Row:
    shown: Row = {
        "id": event.id,
        "source": event.source,
        "specversion": "1.0",
        "type": event.type,
        "subject": event.subject,
        "time": instant_text(event.time_ns),
    }
    return shown if event.data in _NO_DATA else shown | {"data": Raw(event.data.encode())}


def _validation_error(event: StoredEvent) -> str:
    """Why no meter counted it; empty for what is counted or repeats what was."""
    if event.fate == "unmetered":
        return f"no meter found for event type: {event.type}"
    if event.fate in ("rejected", "invalid"):
        return event.detail or event.reason or event.fate
    return ""


def _window(have: Neighbours, namespace: str, event: StoredEvent, slug: str) -> Row:
    """The window in which a meter counted the event. value: what it brought; windowValue: what the window holds."""
    found = have.definitions.meter(namespace, slug)
    start_ns = event.time_ns // MINUTE_NS * MINUTE_NS
    shown: Row = {
        "meter": slug,
        "windowStart": instant_text(start_ns),
        "windowEnd": instant_text(start_ns + MINUTE_NS),
        "subject": event.subject,
    }
    if found is None or found[1].meter_id > event.revision:
        return shown | {
            "deleted": True
        }  # the meter that counted it; one of the same slug may be there by now
    meter = found[1]
    try:
        value, dimensions = measure(meter, event.data.encode())
    except Rejected:  # the meter reads other dimensions by now
        return shown
    shown |= {"groupBy": dimensions, "value": _value(meter, value)}
    query = usage_query(
        meter,
        from_ns=start_ns,
        to_ns=start_ns + MINUTE_NS,
        window="MINUTE",
        subjects=[event.subject],
        filters={name: [value] for name, value in dimensions.items()},
    )
    for row in usage(have.clickhouse, query):
        shown |= {"windowValue": Raw(str(row["value"]).encode()), "windowCount": row["count"]}
    return shown


def _value(meter: Meter, value: int | str | None) -> Any:
    if meter.aggregation == "COUNT":
        return 1
    return value if value is None or isinstance(value, str) else Raw(number.text(value).encode())
