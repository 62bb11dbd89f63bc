"""The stored events that a meter counted for some subjects, for an explanation of lines.

Owns: the pages in which they are read, which of the two counts of an event is the meter's. Does not own: which of them
a line counts (core.explain), the SQL (events).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.core.explain.recount import RecordedEvent
from pipeline.core.values.filters import Filter
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.events import EventFilter, EventPosition, StoredEvent, events
from pipeline.stores.clickhouse.refused import MeterName

PAGE_EVENTS = 5_000
_NS_PER_S = 1_000_000_000


class RecordedSpan(NamedTuple):
    """Events that a meter counted. subjects: whose. from_s, to_s: their time in [from, to), seconds since 1970."""

    namespace: str
    meter: MeterName
    subjects: Sequence[str]
    from_s: int
    to_s: int


def recorded_events(
    store: ClickHouse, asked: RecordedSpan, after: EventPosition | None = None, page_events: int = PAGE_EVENTS
) -> Iterator[RecordedEvent]:
    """The events, newest first by their time.

    Args:
        store: that has them.
        asked: which.
        after: only those after this position.
        page_events: read at once.

    Raises:
        Unavailable: ClickHouse does not answer.
    """
    if not asked.subjects or asked.from_s >= asked.to_s:
        return
    time = Filter("$and", (Filter("$gte", asked.from_s * _NS_PER_S), Filter("$lt", asked.to_s * _NS_PER_S)))
    while True:
        page = events(
            store,
            EventFilter(
                asked.namespace,
                subjects=asked.subjects,
                time=time,
                counted_by=[asked.meter],
                after=after,
                limit=page_events,
            ),
        )
        yield from (_recorded(one, asked.meter.meter_id) for one in page)
        if len(page) < page_events:
            return
        after = page[-1].place


def _recorded(stored: StoredEvent, meter_id: int) -> RecordedEvent:
    is_backfilled = meter_id in stored.backfilled
    rules, position = stored.rules, stored.position
    if is_backfilled:
        place = stored.backfilled.index(meter_id)
        rules, position = (
            column[place] if place < len(column) else 0
            for column in (stored.backfilled_rules, stored.backfilled_positions)
        )
    return RecordedEvent(
        stored.id,
        stored.source,
        stored.subject,
        stored.time_ns,
        stored.received_at_ms,
        stored.data,
        stored.topic,
        stored.partition,
        stored.offset,
        stored.decided,
        rules,
        is_backfilled,
        position,
    )
