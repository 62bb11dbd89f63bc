"""Checks which rows are stored, in the same or a newer revision.

Owns: looking up rows by their sort keys, and comparing revisions. Does not own: when that is needed (clickhouse.proof).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.stores.clickhouse.client import ClickHouse, Columns, Parameter

LOOKED_UP = 2_000  # rows per statement; their keys are sent as parameters

_BETWEEN = " >= toDateTime({from_s:UInt32}, 'UTC')"
_AND = " <= toDateTime({to_s:UInt32}, 'UTC')"
_NAMESPACES = " namespace IN (SELECT arrayJoin({namespace:Array(String)}))"
_METERS = " AND meter_id IN (SELECT arrayJoin(CAST({meter_id:Array(UInt64)} AS Array(UInt64))))"
_SUBJECTS = " AND subject IN (SELECT arrayJoin({subject:Array(String)}))"
_SCOPE = _NAMESPACES + _METERS + _SUBJECTS + " AND start" + _BETWEEN + " AND start" + _AND
_KEYS: dict[str, tuple[str, ...]] = {
    "events": ("namespace", "input_topic", "input_partition", "input_offset"),
    "windows": ("namespace", "meter_id", "subject", "start", "dimensions", "part"),
    "uniques": ("namespace", "meter_id", "subject", "start", "dimensions", "member"),
    "stripe_usage": ("namespace", "mapping", "customer", "start", "dimensions"),
    "marks": ("mark", "topic", "partition"),
}
_LOOK_UP = {
    "events": (
        "SELECT namespace, input_topic, input_partition, input_offset, max(revision) AS newest FROM events WHERE"
        + _NAMESPACES
        + " AND time"
        + _BETWEEN
        + " AND time"
        + _AND
        + " AND input_offset IN (SELECT arrayJoin(CAST({input_offset:Array(UInt64)} AS Array(UInt64))))"
        " GROUP BY namespace, input_topic, input_partition, input_offset"
    ),
    "windows": (
        "SELECT namespace, meter_id, subject, toUInt32(start) AS minute, dimensions, part, max(revision) AS newest"
        " FROM windows WHERE" + _SCOPE + " GROUP BY namespace, meter_id, subject, minute, dimensions, part"
    ),
    "uniques": (
        "SELECT DISTINCT namespace, meter_id, subject, toUInt32(start), dimensions, member, 0 FROM uniques WHERE"
        + _SCOPE
        + " AND member IN (SELECT arrayJoin({member:Array(String)}))"
    ),
    "stripe_usage": (
        "SELECT namespace, mapping, customer, toUInt32(start) AS began, dimensions, max(revision) AS newest"
        " FROM stripe_usage WHERE"
        + _NAMESPACES
        + " AND mapping IN (SELECT arrayJoin({mapping:Array(String)}))"
        " AND customer IN (SELECT arrayJoin({customer:Array(String)})) AND start"
        + _BETWEEN
        + " AND start"
        + _AND
        + " GROUP BY namespace, mapping, customer, began, dimensions"
    ),
    "marks": (
        "SELECT DISTINCT mark, topic, partition, 0 FROM marks WHERE mark IN (SELECT arrayJoin({mark:Array(String)}))"
    ),
}
# The columns whose values are parameters of a look-up.
_GIVEN = {
    "events": ("namespace", "input_offset"),
    "windows": ("namespace", "meter_id", "subject"),
    "uniques": ("namespace", "meter_id", "subject", "member"),
    "stripe_usage": ("namespace", "mapping", "customer"),
    "marks": ("mark",),
}
_TIMES = {"events": "time", "windows": "start", "uniques": "start", "stripe_usage": "start"}


def absent(store: ClickHouse, table: str, columns: Columns) -> int:
    """The number of rows that ClickHouse holds neither in this revision nor in a newer one.

    Args:
        store: Where to look.
        table: One of stores.clickhouse.client.TABLES.
        columns: As they were written; without a `revision`, any row with the same key matches.

    Raises:
        Unavailable: ClickHouse does not respond.
        Broken: A statement is wrong.
    """
    return sum(
        newest < revision
        for part in _parts(columns)
        for revision, newest in _revisions(table, part, _stored(store, table, part))
    )


def _parts(columns: Columns) -> Iterator[dict[str, list[Any]]]:
    rows = len(next(iter(columns.values()), ()))
    for first in range(0, rows, LOOKED_UP):
        yield {name: list(values[first : first + LOOKED_UP]) for name, values in columns.items()}


def _stored(store: ClickHouse, table: str, part: dict[str, list[Any]]) -> dict[tuple[Any, ...], int]:
    """The newest stored revision by key."""
    parameters: dict[str, Parameter] = {name: sorted(set(part[name])) for name in _GIVEN[table]}
    if (time := _TIMES.get(table)) is not None:
        parameters |= {"from_s": min(part[time]), "to_s": max(part[time])}
    return {tuple(key): int(newest) for *key, newest in store.query(_LOOK_UP[table], parameters)}


def _revisions(
    table: str, part: dict[str, list[Any]], stored: dict[tuple[Any, ...], int]
) -> Iterator[tuple[int, int]]:
    """(revision written, newest stored revision or -1) of each row."""
    keys = zip(*(part[name] for name in _KEYS[table]), strict=True)
    revisions = part.get("revision") or [0] * len(next(iter(part.values())))
    for key, revision in zip(keys, revisions, strict=True):
        yield revision, stored.get(key, -1)
