"""Reads stored events with their fates.

Owns: the filters, the order and the position of a page. Does not own: the table, how a row is built
(stores.clickhouse.rows), the JSON of an event (api.metering.events), the SQL of filters (clickhouse.filters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.core.metering.usage_query import END_S, NS_PER_S
from pipeline.core.values.filters import ALL, Filter
from pipeline.records import Refused
from pipeline.stores.clickhouse.client import ClickHouse, Parameter
from pipeline.stores.clickhouse.filters import RECEIVED, TIME, text_condition, time_condition
from pipeline.stores.clickhouse.refused import (
    MeterName,
    RefusedFilter,
    counted_condition,
    refused_condition,
    refused_of,
)

MAX_VERSIONS = 1_000  # limit of the records of one (source, id)

_SELECT = (
    "SELECT id, source, type, subject, time_ns, data, raw, fate, reason, detail, meters, received_at_ms,"
    " stored_at_ms, input_topic, input_partition, input_offset, revision, decided, backfilled, backfilled_rules, rules,"
    " position, backfilled_positions, refused_ids, refused_meters, refused_reasons, refused_details FROM events FINAL"
    " WHERE namespace = {namespace:String}"
)
_ORDER = (
    " ORDER BY time DESC, time_ns DESC, input_topic DESC, input_partition DESC, input_offset DESC"
    " LIMIT {limit:UInt32}"
)
_ONE = " AND id = {id:String} AND source = {source:String}"
_ARRIVAL = " ORDER BY received_at_ms, input_topic, input_partition, input_offset LIMIT {limit:UInt32}"
_AFTER = (
    " AND time <= toDateTime({after_s:UInt32}, 'UTC') AND (time_ns, input_topic, input_partition, input_offset)"
    " < ({after_ns:Int64}, {after_topic:String}, {after_partition:UInt32}, {after_offset:UInt64})"
)
_SUBJECTS = " AND subject IN (SELECT arrayJoin({subjects:Array(String)}))"
_AND = " AND "
# The columns that a text filter may use.
COLUMNS = {"id": "id", "source": "source", "type": "type", "subject": "subject", "fate": "fate"}


class StoredEvent(NamedTuple):
    """One input record. `data` is its JSON text; a rejected record has none, but `raw`, its value as text."""

    id: str
    source: str
    type: str
    subject: str
    time_ns: int
    data: str
    raw: str
    fate: str
    reason: str
    detail: str
    meters: list[str]
    received_at_ms: int
    stored_at_ms: int
    topic: str
    partition: int
    offset: int
    revision: int
    decided: int
    backfilled: list[int]
    backfilled_rules: list[int]
    rules: int
    position: int
    backfilled_positions: list[int]
    refused: list[Refused]

    @property
    def counted_by(self) -> list[CountedBy]:
        """The meters that counted it: first those on arrival, then those of backfills."""
        ids = self.backfilled
        live = self.meters[: len(self.meters) - len(ids)]
        rules = [*self.backfilled_rules, *[0] * (len(ids) - len(self.backfilled_rules))]
        later = zip(self.meters[len(live) :], ids, rules, strict=True)
        return [*(CountedBy(slug, None, self.rules) for slug in live), *(CountedBy(*one) for one in later)]

    @property
    def place(self) -> EventPosition:
        """The position of a page that ends with this event."""
        return EventPosition(self.time_ns, self.topic, self.partition, self.offset)


class CountedBy(NamedTuple):
    """One meter that counted an event.

    meter_id: None for a meter that counted it on arrival: the newest of its slug up to the event's `decided`.
    rules: the version of the rules by which the meter read it (core.metering.extract).
    """

    slug: str
    meter_id: int | None
    rules: int


class EventPosition(NamedTuple):
    """A position in the order of events: by time, then by offset."""

    time_ns: int
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class EventFilter:
    """Which events to return.

    texts: filters by the names in COLUMNS. subjects: only of these; None: of all. after: only events after this
    position. counted_by: only those that one of these meters counted. refused: see stores.clickhouse.refused.
    """

    namespace: str
    texts: Mapping[str, Filter] = field(default_factory=dict)
    subjects: Sequence[str] | None = None
    time: Filter = ALL
    received_at: Filter = ALL
    counted_by: Sequence[MeterName] | None = None
    refused: RefusedFilter | None = None
    after: EventPosition | None = None
    limit: int = 100


def events(store: ClickHouse, query: EventFilter) -> list[StoredEvent]:
    """The matching events, newest first by event time. Raises Unavailable, Broken."""
    if query.subjects is not None and not query.subjects:
        return []
    parameters: dict[str, Parameter] = {"namespace": query.namespace, "limit": query.limit}
    conditions = ""
    for name, filter_ in query.texts.items():
        conditions += _AND + text_condition(COLUMNS[name], filter_, parameters)
    conditions += _AND + time_condition(TIME, query.time, parameters)
    conditions += _AND + time_condition(RECEIVED, query.received_at, parameters)
    if query.subjects is not None:
        conditions += _SUBJECTS
        parameters["subjects"] = query.subjects
    if query.counted_by is not None:
        conditions += _AND + counted_condition(query.counted_by, parameters)
    if query.refused is not None:
        conditions += _AND + refused_condition(query.refused, parameters)
    if query.after is not None:
        conditions += _AFTER
        parameters |= _after(query.after)
    return [_event(row) for row in store.query(_SELECT + conditions + _ORDER, parameters)]


def versions(store: ClickHouse, namespace: str, source: str, id: str) -> list[StoredEvent]:
    """Every record with this (source, id) in order of arrival, at most MAX_VERSIONS. Raises Unavailable, Broken."""
    parameters: dict[str, Parameter] = {
        "namespace": namespace,
        "source": source,
        "id": id,
        "limit": MAX_VERSIONS,
    }
    return [_event(row) for row in store.query(_SELECT + _ONE + _ARRIVAL, parameters)]


def _event(row: tuple[Any, ...]) -> StoredEvent:
    *members, ids, slugs, reasons, details = row
    return StoredEvent._make([*members, refused_of(ids, slugs, reasons, details)])


def _after(place: EventPosition) -> dict[str, Any]:
    return {
        "after_ns": place.time_ns,
        "after_s": min(max(place.time_ns // NS_PER_S, 0), END_S + 15),  # the last second of a DateTime
        "after_topic": place.topic,
        "after_partition": place.partition,
        "after_offset": place.offset,
    }
