"""What ClickHouse holds, counted for reconcile.

Owns: the counts of one namespace. Does not own: what they must equal (core.metering.reconcile).
A meter is counted by its slug, so an older meter of that slug and its events are in the same sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pipeline.core.metering.reconcile import MeterStored, Stored, WindowDifference
from pipeline.core.metering.usage_query import NS_PER_S, instant_text
from pipeline.core.values.time_window import MINUTE_S
from pipeline.stores.clickhouse.client import ClickHouse, Parameter

MAX_DIFFERENCES = 1_000

_NAMESPACES = "SELECT DISTINCT namespace FROM events ORDER BY namespace"
_FATES = "SELECT fate, count() FROM events FINAL WHERE namespace = {namespace:String} GROUP BY fate"
_COUNTED = (
    "SELECT arrayJoin(meters) AS slug, subject, toUInt32(intDiv(toUInt32(time), 60) * 60) AS minute,"
    " toUInt64(count()) AS stored, toUInt64(0) AS held FROM events FINAL"
    " WHERE namespace = {namespace:String} AND fate = 'counted'"
    " AND time >= toDateTime({from_s:UInt32}, 'UTC') AND time < toDateTime({to_s:UInt32}, 'UTC')"
    " GROUP BY slug, subject, minute"
)
_HELD = (
    "SELECT meter AS slug, subject, toUInt32(start) AS minute,"
    " toUInt64(0) AS stored, toUInt64(sum(count)) AS held"
    " FROM windows FINAL WHERE namespace = {namespace:String}"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
    " GROUP BY slug, subject, minute"
)
_BOTH = " FROM (" + _COUNTED + " UNION ALL " + _HELD + ")"
_METERS = "SELECT slug, sum(stored), sum(held)" + _BOTH + " GROUP BY slug ORDER BY slug"
_DIFFERENCES = (
    "SELECT slug, subject, minute, sum(stored) AS all_stored, sum(held) AS all_held"
    + _BOTH
    + " GROUP BY slug, subject, minute HAVING all_stored != all_held"
    " ORDER BY slug, subject, minute LIMIT {limit:UInt32}"
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


def stored(store: ClickHouse, namespace: str) -> Stored:
    """Events by fate, per meter the events and the counts of its windows, and each window where these differ.

    Of the differing windows at most MAX_DIFFERENCES. Compares one month of event time after the other.
    """
    fates = {str(fate): int(count) for fate, count in store.query(_FATES, {"namespace": namespace})}
    meters: dict[str, tuple[int, int]] = {}
    windows: list[WindowDifference] = []
    for from_s, to_s in _months(store, namespace):
        parameters: dict[str, Parameter] = {"namespace": namespace, "from_s": from_s, "to_s": to_s}
        for slug, counted, held in store.query(_METERS, parameters):
            before = meters.get(slug, (0, 0))
            meters[slug] = (before[0] + counted, before[1] + held)
        left = MAX_DIFFERENCES - len(windows)
        if left:
            differing = store.query(_DIFFERENCES, parameters | {"limit": left})
            windows += [
                WindowDifference(slug, subject, instant_text(minute * NS_PER_S), counted, held)
                for slug, subject, minute, counted, held in differing
            ]
    return Stored(
        fates=fates,
        meters=tuple(MeterStored(slug, *counts) for slug, counts in sorted(meters.items())),
        windows=tuple(windows),
    )


def _months(store: ClickHouse, namespace: str) -> Iterator[tuple[int, int]]:
    """[from_s, to_s) of each UTC month from the first stored row to the last: one partition of the tables."""
    first_s, last_s, rows = store.query(_EXTENT, {"namespace": namespace})[0]
    if not rows:
        return
    month = datetime.fromtimestamp(first_s, UTC).replace(day=1, hour=0, minute=0, second=0)
    while month.timestamp() <= last_s:
        following = (month + timedelta(days=31)).replace(day=1)
        yield int(month.timestamp()), min(int(following.timestamp()), 2**32 - MINUTE_S)
        month = following
