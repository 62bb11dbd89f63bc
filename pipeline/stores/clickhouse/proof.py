"""Inserts with proof: rows are verified to be stored, not only acknowledged.

Owns: the id of an attempt, which every row carries, inserts of few enough partitions, counting stored rows by that id.
Does not own: the rows (stores.clickhouse.rows), when to write and to retry (the sink, a rebuild).
A server may acknowledge an insert that stored nothing: chDB's streaming insert does on a full disk, and a server does
with `async_insert` and without `wait_for_async_insert`. Each attempt has its own id, so that rows of an earlier attempt
are not counted, and no server skips an attempt as a repeat.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping

from pipeline.errors import Unavailable
from pipeline.stores.clickhouse.client import INSERT_ID, ClickHouse, Columns
from pipeline.stores.clickhouse.presence import absent

# Partitions are months. ClickHouse refuses a block of more than 100 (max_partitions_per_insert_block).
BLOCK_SPAN_S = 90 * 28 * 86_400
_RANDOM_BITS = 12

# Per table: the column whose month is the partition, and the query for the number of rows with an id.
_TIMES = {"events": "time", "windows": "start", "uniques": "start", "stripe_usage": "start"}
_WITHIN = (
    " WHERE insert_id = {insert_id:UInt64} AND TIME >= toDateTime({from_s:UInt32}, 'UTC')"
    " AND TIME <= toDateTime({to_s:UInt32}, 'UTC')"
)
_COUNTS = {
    "events": "SELECT count() FROM events" + _WITHIN.replace("TIME", "time"),
    "windows": "SELECT count() FROM windows" + _WITHIN.replace("TIME", "start"),
    "uniques": "SELECT count() FROM uniques" + _WITHIN.replace("TIME", "start"),
    "stripe_usage": "SELECT count() FROM stripe_usage" + _WITHIN.replace("TIME", "start"),
    "marks": "SELECT count() FROM marks WHERE insert_id = {insert_id:UInt64}",
}


class NotStored(Unavailable):
    """ClickHouse acknowledged rows that it does not hold: write them again."""


Tables = Mapping[str, Columns]  # by table, in the order of writing; each row has a sort key of its own


def new_insert_id() -> int:
    """An id for one attempt: larger than earlier ones, and different from those of other workers."""
    return (time.time_ns() // 1_000 << _RANDOM_BITS) + secrets.randbelow(1 << _RANDOM_BITS)


def insert(store: ClickHouse, tables: Tables, insert_id: int) -> None:
    """Insert the rows in the given order, without proof. Raises Unavailable or Broken."""
    for table, columns in tables.items():
        for block in blocks(columns, _TIMES.get(table)) if rows_of(columns) else ():
            store.insert(table, {**block, INSERT_ID: [insert_id] * rows_of(block)})


def prove(store: ClickHouse, tables: Tables, insert_id: int) -> None:
    """Return when every row is stored: counted by its id, or found by its key in this revision or a newer one.

    A row that was replaced since is not lost; ClickHouse may have merged it away.

    Raises:
        NotStored: Rows are missing; the message has the table and their number.
        Unavailable: ClickHouse does not respond.
    """
    for table, columns in tables.items():
        rows = rows_of(columns)
        if not rows or _count(store, table, columns, insert_id) == rows:
            continue
        if missing := absent(store, table, columns):
            raise NotStored(
                f"ClickHouse acknowledged {rows} rows of {table}, but {missing} of them are not stored. Check for a "
                "full disk, for async_insert without wait_for_async_insert, and the server's log."
            )


def _count(store: ClickHouse, table: str, columns: Columns, insert_id: int) -> int:
    parameters = {"insert_id": insert_id}
    if (time_column := _TIMES.get(table)) is not None:
        times = columns[time_column]
        parameters |= {"from_s": min(times), "to_s": max(times)}
    return int(store.query(_COUNTS[table], parameters)[0][0])


def rows_of(columns: Columns) -> int:
    """The number of rows."""
    return len(next(iter(columns.values()), ()))


def blocks(columns: Columns, time_column: str | None) -> Iterator[Columns]:
    """The columns in parts, each with few enough months for one insert."""
    times = columns[time_column] if time_column is not None else ()
    if not times or max(times) - min(times) < BLOCK_SPAN_S:
        yield columns
        return
    order = sorted(range(len(times)), key=times.__getitem__)
    first = 0
    for place in range(1, len(order) + 1):
        if place == len(order) or times[order[place]] - times[order[first]] >= BLOCK_SPAN_S:
            chosen = order[first:place]
            yield {name: [values[row] for row in chosen] for name, values in columns.items()}
            first = place
