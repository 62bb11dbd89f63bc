"""Rows written so that it is known, not only acknowledged, that they are stored.

Owns: the id that every row of one attempt carries, inserts of few enough partitions, counting what is stored by that
id. Does not own: the rows (stores.clickhouse.rows), when to write and to try again (the sink, a rebuild).
A server may acknowledge an insert that stored nothing: chDB's streaming insert does on a full disk, a server does with
`async_insert` and without `wait_for_async_insert`. Each attempt has an id of its own, so that what an earlier attempt
left behind is not counted as this attempt's, and no server takes an attempt for a repeat and leaves it out.
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

# Of each table: the column whose month is the partition, and how many of its rows carry an id.
_TIMES = {"events": "time", "windows": "start", "uniques": "start"}
_WITHIN = (
    " WHERE insert_id = {insert_id:UInt64} AND TIME >= toDateTime({from_s:UInt32}, 'UTC')"
    " AND TIME <= toDateTime({to_s:UInt32}, 'UTC')"
)
_COUNTS = {
    "events": "SELECT count() FROM events" + _WITHIN.replace("TIME", "time"),
    "windows": "SELECT count() FROM windows" + _WITHIN.replace("TIME", "start"),
    "uniques": "SELECT count() FROM uniques" + _WITHIN.replace("TIME", "start"),
    "marks": "SELECT count() FROM marks WHERE insert_id = {insert_id:UInt64}",
}


class NotStored(Unavailable):
    """ClickHouse acknowledged rows that it does not hold: write them again."""


Tables = Mapping[str, Columns]  # by table, in the order of writing; each row has a sort key of its own


def new_insert_id() -> int:
    """An id for one attempt: larger than earlier ones, and another one than any worker's."""
    return (time.time_ns() // 1_000 << _RANDOM_BITS) + secrets.randbelow(1 << _RANDOM_BITS)


def insert(store: ClickHouse, tables: Tables, insert_id: int) -> None:
    """Writes the rows in the order given, without proving anything. Raises Unavailable or Broken."""
    for table, columns in tables.items():
        for block in blocks(columns, _TIMES.get(table)) if rows_of(columns) else ():
            store.insert(table, {**block, INSERT_ID: [insert_id] * rows_of(block)})


def prove(store: ClickHouse, tables: Tables, insert_id: int) -> None:
    """Returns when every row is stored: counted by its id, or else found by its key, in this revision or a newer one.

    A row that was replaced since is no loss; ClickHouse may merge it away at once.

    Raises:
        NotStored: with a sentence that names the table and how many rows are missing.
        Unavailable: ClickHouse does not answer.
    """
    for table, columns in tables.items():
        rows = rows_of(columns)
        if not rows or _count(store, table, columns, insert_id) == rows:
            continue
        if missing := absent(store, table, columns):
            raise NotStored(
                f"ClickHouse acknowledged {rows} rows of {table}, but {missing} of them are not stored. Is its disk "
                "full, or async_insert on without wait_for_async_insert? Its log says more."
            )


def _count(store: ClickHouse, table: str, columns: Columns, insert_id: int) -> int:
    parameters = {"insert_id": insert_id}
    if (time_column := _TIMES.get(table)) is not None:
        times = columns[time_column]
        parameters |= {"from_s": min(times), "to_s": max(times)}
    return int(store.query(_COUNTS[table], parameters)[0][0])


def rows_of(columns: Columns) -> int:
    """How many rows they are."""
    return len(next(iter(columns.values()), ()))


def blocks(columns: Columns, time_column: str | None) -> Iterator[Columns]:
    """The columns in parts that each have few enough months for one insert."""
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
