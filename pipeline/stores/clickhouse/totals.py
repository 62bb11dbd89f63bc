"""Counts the rows in ClickHouse, for reconcile.

Owns: the counts of one namespace. Does not own: the comparison (core.metering.reconcile), the sums of a meter
(meter_totals).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from pipeline.core.metering.reconcile import PlaceStored, StoredTotals, UniqueDifference, WindowDifference
from pipeline.core.metering.usage_query import NS_PER_S, instant_text
from pipeline.core.values.time_window import MINUTE_S
from pipeline.stores.clickhouse.client import ClickHouse, Parameter
from pipeline.stores.clickhouse.meter_totals import MeterTotals

MAX_DIFFERENCES = 1_000

_NAMESPACES = "SELECT DISTINCT namespace FROM events ORDER BY namespace"
_FATES = "SELECT fate, count() FROM events FINAL WHERE namespace = {namespace:String} GROUP BY fate"
_PLACES = (
    "SELECT input_topic, input_partition, count() FROM events FINAL WHERE namespace = {namespace:String}"
    " GROUP BY input_topic, input_partition ORDER BY input_topic, input_partition"
)
_UNIQUE = (
    " WHERE namespace = {namespace:String} AND meter_id = {meter_id:UInt64}"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
    " GROUP BY subject, minute, dimensions"
)
_UNIQUES = (
    "SELECT subject, minute, sum(low), sum(high), sum(members) FROM ("
    "SELECT subject, toUInt32(start) AS minute, dimensions, toUInt64(max(value)) AS low,"
    " toUInt64(sum(value)) AS high, toUInt64(0) AS members FROM windows FINAL"
    + _UNIQUE
    + " UNION ALL "
    + "SELECT subject, toUInt32(start) AS minute, dimensions, toUInt64(0) AS low, toUInt64(0) AS high,"
    " toUInt64(uniqExact(member)) AS members FROM uniques" + _UNIQUE + ")"
    " GROUP BY subject, minute, dimensions HAVING sum(members) < sum(low) OR sum(members) > sum(high)"
    " ORDER BY subject, minute LIMIT {limit:UInt32}"
)
_EXTENT = (
    "SELECT min(first), max(last), sum(n) FROM ("
    "SELECT toUInt32(min(time)) AS first, toUInt32(max(time)) AS last, count() AS n FROM events"
    " WHERE namespace = {namespace:String}"
    " UNION ALL SELECT toUInt32(min(start)) AS first, toUInt32(max(start)) AS last, count() AS n FROM windows"
    " WHERE namespace = {namespace:String}) WHERE n > 0"
)


def namespaces(store: ClickHouse) -> list[str]:
    """Every namespace that has a stored event, sorted."""
    return [str(row[0]) for row in store.query(_NAMESPACES)]


def stored(
    store: ClickHouse,
    namespace: str,
    known: Iterable[tuple[int, str]] = (),
    unique: Mapping[int, str] = MappingProxyType({}),
) -> StoredTotals:
    """Count the rows of one namespace, and compare windows with events, one month of event time after the other.

    Args:
        store: Where to count.
        namespace: Whose rows.
        known: Id and slug of meters, including deleted ones, in addition to those of stored windows.
        unique: Slugs of the UNIQUE_COUNT meters by id; their members are compared with their windows.

    Returns:
        Events by fate and by input partition; the events and window counts of each meter; and at most MAX_DIFFERENCES
        windows that differ.
    """
    scope: dict[str, Parameter] = {"namespace": namespace}
    totals = MeterTotals(store, namespace, known)
    windows: list[WindowDifference] = []
    uniques: list[UniqueDifference] = []
    for from_s, to_s in _months(store, namespace):
        windows += totals.add(from_s, to_s, MAX_DIFFERENCES - len(windows))
        if left := MAX_DIFFERENCES - len(uniques):
            parameters: dict[str, Parameter] = {**scope, "from_s": from_s, "to_s": to_s, "limit": left}
            uniques += _differing_uniques(store, parameters, unique)
    return StoredTotals(
        fates={str(fate): int(count) for fate, count in store.query(_FATES, scope)},
        meters=totals.meters(),
        windows=tuple(windows),
        uniques=tuple(uniques[:MAX_DIFFERENCES]),
        places=tuple(PlaceStored(str(t), int(p), int(n)) for t, p, n in store.query(_PLACES, scope)),
    )


def _differing_uniques(
    store: ClickHouse, parameters: dict[str, Parameter], unique: Mapping[int, str]
) -> list[UniqueDifference]:
    return [
        UniqueDifference(slug, subject, instant_text(minute * NS_PER_S), int(low), int(high), int(members))
        for meter_id, slug in unique.items()
        for subject, minute, low, high, members in store.query(_UNIQUES, parameters | {"meter_id": meter_id})
    ]


def _months(store: ClickHouse, namespace: str) -> Iterator[tuple[int, int]]:
    """[from_s, to_s) of each UTC month from the first stored row to the last; a month is a partition of the tables."""
    first_s, last_s, rows = store.query(_EXTENT, {"namespace": namespace})[0]
    if not rows:
        return
    month = datetime.fromtimestamp(first_s, UTC).replace(day=1, hour=0, minute=0, second=0)
    while month.timestamp() <= last_s:
        following = (month + timedelta(days=31)).replace(day=1)
        yield int(month.timestamp()), min(int(following.timestamp()), 2**32 - MINUTE_S)
        month = following
