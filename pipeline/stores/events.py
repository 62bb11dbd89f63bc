"""Lists stored events with what became of them.

Owns: the filters and the form of a listed event. Does not own: the table, or how a row was made (core.rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from pipeline.core.query import END_S, NS_PER_S, instant_text
from pipeline.errors import Rejected
from pipeline.stores.clickhouse import ClickHouse, Parameter

MAX_LIMIT = 10_000
_NS_PER_MS = 1_000_000

_SELECT = (
    "SELECT id, source, type, subject, time_ns, data, raw, fate, reason, detail, meters, received_at_ms,"
    " stored_at_ms, input_topic, input_partition, input_offset FROM events FINAL"
    " WHERE namespace = {namespace:String}"
)
_ORDER = (
    " ORDER BY time DESC, time_ns DESC, input_topic DESC, input_partition DESC, input_offset DESC"
    " LIMIT {limit:UInt32}"
)
_EQUAL = {
    "subject": " AND subject = {subject:String}",
    "id": " AND id = {id:String}",
    "source": " AND source = {source:String}",
    "type": " AND type = {type:String}",
    "fate": " AND fate = {fate:String}",
}
_FROM = " AND time >= toDateTime({from_s:UInt32}, 'UTC') AND time_ns >= {from_ns:Int64}"
_TO = " AND time <= toDateTime({to_s:UInt32}, 'UTC') AND time_ns < {to_ns:Int64}"


@dataclass(frozen=True)
class EventFilter:
    """Which events. None: any. Instants are ns since 1970 of the event's time, [from, to)."""

    namespace: str
    subject: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    fate: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    limit: int = 100


def events(store: ClickHouse, wanted: EventFilter) -> list[dict[str, Any]]:
    """Events with fate, reason, detail, meters, received_at, stored_at and position, newest first.

    `event.data` is msgspec.Raw, the JSON text as sent, so that no digit is lost: encode with msgspec. What
    ingest refused has no data but `raw`, its value as text. Raises Rejected `bad-query`, Unavailable, Broken.
    """
    if not 1 <= wanted.limit <= MAX_LIMIT:
        raise Rejected("bad-query", f"limit must be 1 to {MAX_LIMIT}")
    parameters: dict[str, Parameter] = {"namespace": wanted.namespace, "limit": wanted.limit}
    conditions = ""
    for name, condition in _EQUAL.items():
        value = getattr(wanted, name)
        if value is not None:
            conditions += condition
            parameters[name] = value
    for side, condition in (("from", _FROM), ("to", _TO)):
        at_ns = getattr(wanted, side + "_ns")
        if at_ns is not None:
            at_ns = min(max(at_ns, 0), END_S * NS_PER_S)
            conditions += condition
            parameters |= {side + "_ns": at_ns, side + "_s": at_ns // NS_PER_S}
    return [_listed(row) for row in store.query(_SELECT + conditions + _ORDER, parameters)]


def _listed(row: tuple[Any, ...]) -> dict[str, Any]:
    id_, source, type_, subject, time_ns, data, raw, *rest = row
    fate, reason, detail, meters, received_at_ms, stored_at_ms, topic, partition, offset = rest
    return {
        "event": {
            "id": id_,
            "source": source,
            "type": type_,
            "subject": subject,
            "time": instant_text(time_ns),
            "data": Raw(data.encode()) if data else None,
        },
        "raw": None if data else raw,
        "fate": fate,
        "reason": reason,
        "detail": detail,
        "meters": list(meters),
        "received_at": instant_text(received_at_ms * _NS_PER_MS),
        "stored_at": instant_text(stored_at_ms * _NS_PER_MS),
        "position": {"topic": topic, "partition": partition, "offset": offset},
    }
