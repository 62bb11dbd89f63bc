"""Stored events for a backfill, page by page in the order of their time, and whether a barrier has been stored.

Owns: the SQL and the size of a page. Does not own: processing a page (core.metering.backfill).
A page depends on the work record alone: every row that it can select is stored before the first page is read (the
cut), and the columns that a backfill changes select no row.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import msgspec

from pipeline.core.metering.backfill import BackfillEvent, BackfillPage, meter_of
from pipeline.core.metering.meter import event_from_ns
from pipeline.core.metering.usage_query import NS_PER_S
from pipeline.errors import Unavailable
from pipeline.records import Backfill, Event
from pipeline.stores.clickhouse.client import ClickHouse, Parameter
from pipeline.stores.clickhouse.refused import refused_of

MOST_SPAN_S = 30 * 86_400
BUCKETS = 256  # per span, to measure how much of it fits into a page
_LAST_S = 2**32 - 1  # largest DateTime

_FROM = (
    " FROM events FINAL WHERE namespace = {namespace:String} AND type = {type:String}"
    " AND fate IN ('counted', 'unmetered', 'invalid') AND decided < {meter_id:UInt64}"
    " AND modulo(cityHash64(subject), {shards:UInt32}) = {shard:UInt32}"
    " AND time >= toDateTime({from_s:UInt32}, 'UTC')"
)
_UNTIL = " AND time <= toDateTime({last_s:UInt32}, 'UTC')"
_BEHIND = (
    " AND (toUInt32(time) > {at_s:UInt32} OR input_topic > {topic:String} OR (input_topic = {topic:String}"
    " AND (input_partition > {partition:UInt32}"
    " OR (input_partition = {partition:UInt32} AND input_offset > {offset:UInt64}))))"
)
_ORDER = " ORDER BY time, input_topic, input_partition, input_offset"
_FIRST = "SELECT toUInt32(min(time)), count()" + _FROM
_SIZES = (
    "SELECT intDiv(toUInt32(time) - {from_s:UInt32}, {bucket_s:UInt32}) AS bucket, count(), sum(length(data))"
    + _FROM
    + _UNTIL
    + _BEHIND
    + " GROUP BY bucket ORDER BY bucket"
)
_LENGTHS = "SELECT length(data)" + _FROM + _UNTIL + _BEHIND + _ORDER + " LIMIT {limit:UInt32}"
_EVENTS = (
    "SELECT namespace, source, id, type, subject, time_ns, received_at_ms, input_topic, input_partition,"
    " input_offset, data, fate, reason, meters, revision, decided, fate_before, backfilled, backfilled_rules, rules,"
    " refused_ids, refused_meters, refused_reasons, refused_details, position, backfilled_positions, toUInt32(time)"
    + _FROM
    + _UNTIL
    + _BEHIND
    + _ORDER
    + " LIMIT {limit:UInt32}"
)
_MARKS = "SELECT count() FROM (SELECT DISTINCT topic, partition FROM marks WHERE mark = {mark:String})"


class PageSize(msgspec.Struct, frozen=True):
    """The most of one page. bytes: of data; a page with one event may exceed it."""

    events: int = 5_000
    bytes: int = 8 << 20


PAGE = PageSize()
Cursor = tuple[int, str, int, int]
TimeBucket = tuple[int, int, int]  # number, events, bytes of their data


def landed(store: ClickHouse, mark: bytes) -> int:
    """The number of partitions for which the sink has stored this barrier, and so everything before it."""
    return int(store.query(_MARKS, {"mark": mark.decode()})[0][0])


def page(store: ClickHouse, work: Backfill, most: PageSize = PAGE) -> BackfillPage:
    """The next page of stored events in a step's shard. Raises Unavailable or Broken."""
    scope = _scope(work)
    cursor, span_s, total = work.cursor, work.span_s, work.events
    if cursor is None:
        first_s, total = _first(store, scope, scope["from_s"])
        if not total:
            return BackfillPage([], None, span_s, 0)
        cursor = (first_s, "", 0, 0)
    while cursor[0] <= _LAST_S:
        buckets = _sizes(store, scope, cursor, span_s)
        bucket_s = _bucket_s(span_s)
        if not buckets:
            first_s, left = _first(store, scope, cursor[0] + span_s)
            if not left:
                return BackfillPage([], None, span_s, total)
            cursor = (first_s, "", 0, 0)
            continue
        fitting = _fitting(buckets, most)
        few = len(fitting) == len(buckets) and sum(bucket[1] for bucket in fitting) < most.events // 2
        if few and span_s < MOST_SPAN_S:
            span_s = min(4 * span_s, MOST_SPAN_S)
            continue
        if fitting:
            return _slice(store, scope, cursor, span_s, buckets, fitting, total)
        if bucket_s == 1:
            return _crowded(store, scope, (cursor[0] + buckets[0][0], cursor), total, most)
        start_s = cursor[0] + buckets[0][0] * bucket_s
        cursor, span_s = (cursor if start_s == cursor[0] else (start_s, "", 0, 0)), bucket_s
    return BackfillPage([], None, span_s, total)


def _slice(
    store: ClickHouse,
    scope: dict[str, Any],
    cursor: Cursor,
    span_s: int,
    buckets: list[TimeBucket],
    fitting: list[TimeBucket],
    total: int,
) -> BackfillPage:
    """The events of whole buckets. The span of the next page is adapted, so that it fills about a page."""
    whole = len(fitting) == len(buckets)
    end_s = cursor[0] + (span_s if whole else (fitting[-1][0] + 1) * _bucket_s(span_s))
    expected = sum(bucket[1] for bucket in fitting)
    events = _events(store, scope, cursor, end_s - 1, expected + 1)
    if len(events) != expected:
        raise Unavailable(
            f"ClickHouse returned {len(events)} events where it had counted {expected} just before"
        )
    if not whole and len(fitting) < len(buckets) // 2:
        span_s = max(1, span_s // 2)
    return BackfillPage([event for event, _ in events], (end_s, "", 0, 0), span_s, total)


def _scope(work: Backfill) -> dict[str, Any]:
    meter = meter_of(work)
    return {
        "namespace": work.namespace,
        "type": meter.event_type,
        "meter_id": work.meter_id,
        "shards": work.shards,
        "shard": work.shard,
        "from_s": min(max(event_from_ns(meter) // NS_PER_S, 0), _LAST_S),
    }


def _first(store: ClickHouse, scope: dict[str, Any], from_s: int) -> tuple[int, int]:
    """The second of the first event from `from_s` onwards, and the number of such events."""
    if from_s > _LAST_S:
        return 0, 0
    first_s, events = store.query(_FIRST, {**scope, "from_s": from_s})[0]
    return int(first_s), int(events)


def _bucket_s(span_s: int) -> int:
    return max(1, span_s // BUCKETS)


def _sizes(store: ClickHouse, scope: dict[str, Any], cursor: Cursor, span_s: int) -> list[TimeBucket]:
    """The non-empty buckets of the span that begins at the cursor's second."""
    parameters = _after(scope, cursor, cursor[0] + span_s - 1) | {"bucket_s": _bucket_s(span_s)}
    return [(int(a), int(b), int(c)) for a, b, c in store.query(_SIZES, parameters)]


def _fitting(buckets: list[TimeBucket], most: PageSize) -> list[TimeBucket]:
    """The first buckets, up to the size of a page."""
    events = size = 0

    def fits(bucket: TimeBucket) -> bool:
        nonlocal events, size
        events, size = events + bucket[1], size + bucket[2]
        return events <= most.events and size <= most.bytes

    return list(takewhile(fits, buckets))


def _crowded(
    store: ClickHouse, scope: dict[str, Any], place: tuple[int, Cursor], total: int, most: PageSize
) -> BackfillPage:
    """A page within one second that has more events than a page."""
    second, before = place
    cursor = before if before[0] == second else (second, "", 0, 0)
    parameters = _after(scope, cursor, second) | {"limit": most.events}
    number = size = 0
    for (length,) in store.query(_LENGTHS, parameters):
        size += int(length)
        if number and size > most.bytes:
            break
        number += 1
    events = _events(store, scope, cursor, second, number)
    return BackfillPage([event for event, _ in events], events[-1][1], 1, total)


def _events(
    store: ClickHouse, scope: dict[str, Any], cursor: Cursor, last_s: int, limit: int
) -> list[tuple[BackfillEvent, Cursor]]:
    rows = store.query(_EVENTS, _after(scope, cursor, last_s) | {"limit": limit})
    return [_stored(row) for row in rows]


def _after(scope: dict[str, Any], cursor: Cursor, last_s: int) -> dict[str, Parameter]:
    at_s, topic, partition, offset = cursor
    behind = {"from_s": at_s, "at_s": at_s, "topic": topic, "partition": partition, "offset": offset}
    return {**scope, **behind, "last_s": min(last_s, _LAST_S)}


def _stored(row: tuple[Any, ...]) -> tuple[BackfillEvent, Cursor]:
    attributes, data, at_s = row[:10], row[10], row[-1]
    fate, reason, meters, revision, decided, before, backfilled, backfilled_rules, rules, *rest = row[11:-1]
    *refused, position, backfilled_positions = rest
    event = Event(*[*attributes, msgspec.Raw(data.encode())])
    stored = BackfillEvent(
        event,
        fate,
        reason,
        list(meters),
        int(revision),
        int(decided),
        before,
        [int(meter_id) for meter_id in backfilled],
        [int(one) for one in backfilled_rules],
        int(rules),
        refused_of(*refused),
        int(position),
        [int(one) for one in backfilled_positions],
    )
    return stored, (at_s, event.input_topic, event.partition, event.offset)
