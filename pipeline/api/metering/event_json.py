"""The form of a stored event in answers, its whole story, and the cursor of a page of events.

Owns: members and texts. Does not own: which events (stores.clickhouse.events), the value of a window
(stores.clickhouse.usage). A meter that was deleted stays another one than a meter made later under the same slug: what
it counted or refused is shown as `deleted`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Raw

from pipeline.api.customers.lookup import customer_of
from pipeline.api.http.services import Services
from pipeline.core.metering.extract import measure
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import instant_text, usage_query
from pipeline.core.values import number
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.time_window import MINUTE_NS
from pipeline.errors import Broken, Rejected
from pipeline.records import Refused
from pipeline.stores.clickhouse.events import CountedBy, EventPosition, StoredEvent
from pipeline.stores.clickhouse.rows import canonical
from pipeline.stores.clickhouse.usage import usage

REPEATS = ("duplicate", "conflict")
_NS_PER_MS = 1_000_000
_BOUNDS = EventPosition(2**63, "", 2**32, 2**64)
_NO_DATA = ("", "null")
_place = reader_of(tuple[int, str, int, int])
EventRow = dict[str, Any]


def listed(services: Services, namespace: str, event: StoredEvent) -> EventRow:
    """An event as OpenMeter lists it, with fate, reason, detail, meters and position.

    `data` is the JSON text as sent. What ingest refused has attributes only as far as they could be read, and `raw`.
    `meters` are those that counted it, `deletedMeters` slugs of deleted ones; `refusedBy` those that refused it.
    """
    shown: EventRow = {"event": _cloud_event(event)}
    customer = customer_of(services, namespace, event.subject)
    if customer is not None:
        shown["customerId"] = customer
    refused = [_refusal(services, namespace, one) for one in event.refused]
    why = _validation_error(event, refused)
    if why:
        shown["validationError"] = why
    shown |= {
        "ingestedAt": instant_text(event.received_at_ms * _NS_PER_MS),
        "storedAt": instant_text(event.stored_at_ms * _NS_PER_MS),
        "fate": event.fate,
        "reason": _sentence(refused) or event.reason,
        "detail": event.detail,
    }
    counted = [(one.slug, _meter(services, namespace, one, event.decided)) for one in event.counted_by]
    shown["meters"] = list(dict.fromkeys(slug for slug, meter in counted if meter is not None))
    if gone := list(dict.fromkeys(slug for slug, meter in counted if meter is None)):
        shown["deletedMeters"] = gone
    if refused:
        shown["refusedBy"] = refused
    return shown | {
        "position": {"topic": event.topic, "partition": event.partition, "offset": event.offset},
        "raw": None if event.data else event.raw,
    }


def event_detail(services: Services, namespace: str, versions: Sequence[StoredEvent]) -> EventRow:
    """The one event among the records of a (source, id), its windows, and the other records. versions: not empty.

    A record that ingest refused never became an event; if there is no other, the last of these is returned.
    """
    repeats = [one for one in versions if one.fate in REPEATS]
    refused = [one for one in versions if one.fate == "rejected" and not one.data]
    settled = [one for one in versions if one not in repeats and one not in refused]
    one = (settled or refused or repeats)[-1]
    return listed(services, namespace, one) | {
        "windows": [_window(services, namespace, one, counted) for counted in one.counted_by],
        "repeats": [listed(services, namespace, other) for other in repeats if other is not one],
        "refused": [listed(services, namespace, other) for other in refused if other is not one],
    }


def cursor_of(place: EventPosition) -> str:
    """The text of a place; `place_of` reads it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(tuple(place))).decode().rstrip("=")


def place_of(cursor: str) -> EventPosition:
    """Raises Rejected `bad-query` for a text that is no cursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        place = EventPosition(*_place(raw))
    except (ValueError, Rejected) as error:  # binascii.Error is a ValueError
        raise Rejected("bad-query", "the cursor is not one that this API gave") from error
    inside = abs(place.time_ns) < _BOUNDS.time_ns and len(place.topic) < 256
    if not (inside and 0 <= place.partition < _BOUNDS.partition and 0 <= place.offset < _BOUNDS.offset):
        raise Rejected("bad-query", "the cursor is not one that this API gave")
    return place


def _cloud_event(event: StoredEvent) -> EventRow:
    shown: EventRow = {
        "id": event.id,
        "source": event.source,
        "specversion": "1.0",
        "type": event.type,
        "subject": event.subject,
        "time": instant_text(event.time_ns),
    }
    return shown if event.data in _NO_DATA else shown | {"data": Raw(event.data.encode())}


def _validation_error(event: StoredEvent, refused: Sequence[EventRow]) -> str:
    """Why a meter in force, or no meter, counted it; empty for what all of them counted or what repeats that."""
    if event.fate == "unmetered":
        return f"no meter found for event type: {event.type}"
    if event.fate == "counted":
        return _sentence([one for one in refused if "deleted" not in one])
    if event.fate in ("rejected", "invalid"):
        return event.detail or _sentence(refused) or event.reason or event.fate
    return ""


def _refusal(services: Services, namespace: str, one: Refused) -> EventRow:
    shown: EventRow = {"meter": one.meter, "reason": one.reason, "detail": one.detail}
    found = services.definitions.meter(namespace, one.meter)
    in_force = found is not None and found[1].meter_id == one.meter_id
    return shown if in_force else shown | {"deleted": True}


def _sentence(refused: Sequence[EventRow]) -> str:
    return "; ".join(
        f"{one['meter']}{' (deleted)' if 'deleted' in one else ''}: {one['detail']}" for one in refused
    )


def _meter(services: Services, namespace: str, counted: CountedBy, decided: int) -> Meter | None:
    """The meter that counted an event decided at a control revision; None if it is deleted."""
    found = services.definitions.meter(namespace, counted.slug)
    if found is None:
        return None
    meter = found[1]
    same = meter.meter_id <= decided if counted.meter_id is None else meter.meter_id == counted.meter_id
    return meter if same else None


def _window(services: Services, namespace: str, event: StoredEvent, counted: CountedBy) -> EventRow:
    """The window in which a meter counted the event. value: what it brought; windowValue: what the window holds."""
    start_ns = event.time_ns // MINUTE_NS * MINUTE_NS
    shown: EventRow = {
        "meter": counted.slug,
        "windowStart": instant_text(start_ns),
        "windowEnd": instant_text(start_ns + MINUTE_NS),
        "subject": event.subject,
    }
    found = _meter(services, namespace, counted, event.decided)
    if found is None:
        return shown | {"deleted": True}
    meter = found.as_of(event.decided)
    try:
        value, dimensions = measure(meter, event.data.encode(), counted.rules)
    except Rejected as error:
        raise Broken(f"meter {meter.slug} counted an event that it cannot take: {error}") from error
    shown |= {"groupBy": dimensions, "value": _value(meter, value)}
    query = usage_query(
        meter, from_ns=start_ns, to_ns=start_ns + MINUTE_NS, window="MINUTE", subjects=[event.subject]
    )
    for row in usage(services.clickhouse, replace(query, dimensions=canonical(dimensions))):
        shown |= {"windowValue": Raw(str(row["value"]).encode()), "windowCount": row["count"]}
    return shown


def _value(meter: Meter, value: int | str | None) -> Any:
    if meter.aggregation == "COUNT":
        return 1
    return value if value is None or isinstance(value, str) else Raw(number.text(value).encode())
