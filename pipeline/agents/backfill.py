"""BACKFILL: lets a new meter count the events that are already stored.

Reads `backfill-work`, stored events in ClickHouse, `control`. Writes windows to `usage` and changed fates to
`events-settled`, packed, barriers, and the next step to `backfill-work`: one step per transaction.
Keeps: windows of the minutes in progress, the order of the meters, the step of each (`backfill-changelog`); counts.
On replay: a page is the same again, and a window includes it once. While ClickHouse is unavailable it retries; live
counting continues.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import faust
import msgspec

from pipeline.agents.aggregate import RefusedEvents, observe_refused, refused_in
from pipeline.agents.definitions import MetersInForce
from pipeline.core.definitions.barrier import end_barrier, start_barrier
from pipeline.core.metering.backfill import FINISHED, BackfillInput, BackfillPage, BackfillStep, key_of, take
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.identity import subject_hash
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.packing import arrays
from pipeline.engine.retry import Retry
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.errors import Rejected, Unavailable
from pipeline.records import Backfill, Event, Settled, Window
from pipeline.stores.clickhouse.backfill import landed, page
from pipeline.stores.clickhouse.client import ClickHouse

NAME = "backfill"
TOPIC = "backfill-work"
CHANGELOG = Changelog("backfill-changelog")

PAGES = 2  # per chunk; other backfills of the partition wait for the next chunk
LOOK_AGAIN_S = 0.05  # interval of the check of barriers
HOLD_S = 0.5  # how long a chunk in which every step waits is held before the steps are published again

log = logging.getLogger("tallymark.backfill")
_work = reader_of(Backfill)
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, store: ClickHouse, meters: MetersInForce, partitions: int) -> None:
    """partitions: of `usage` and of `events-settled`."""

    async def backfill(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            found = await _look(stage, store, meters, chunk)
            if (transaction := await stage.begin(chunk)) is not None:
                fill(transaction, found, partitions)
                transaction.commit()

    stage.agent(TOPIC)(backfill)


async def _look(stage: Stage, store: ClickHouse, meters: MetersInForce, chunk: Chunk) -> list[BackfillInput]:
    """The input of each step of the chunk. Waits for ClickHouse; empty if the partition is revoked meanwhile.

    If no step can continue yet, it checks again for a while, because publishing the steps again costs a transaction.
    """
    works = [None if record.value is None else read(chunk, record, _work) for record in chunk.records]
    retry = Retry(log, "read from ClickHouse", lambda: stage.revoking)
    deadline_s = time.monotonic() + HOLD_S
    while not stage.revoking:
        try:
            found = await retry.in_thread(lambda: look(works, store, *meters()))
        except Unavailable:  # the partition is being revoked
            break
        waiting = [one for one in zip(works, found, strict=True) if not _is_over(one[0])]
        if not waiting or any(_goes_on(*one) for one in waiting) or time.monotonic() > deadline_s:
            return found
        await asyncio.sleep(LOOK_AGAIN_S)
    return [BackfillInput()] * len(works)


class BackfillQueries(NamedTuple):
    """What is asked of ClickHouse: a page of stored events, and whether a barrier is stored."""

    page: Callable[[ClickHouse, Backfill], BackfillPage] = page
    landed: Callable[[ClickHouse, bytes], int] = landed


QUERIES = BackfillQueries()


def look(
    works: Sequence[Backfill | None],
    store: ClickHouse,
    index: MeterIndex,
    revision: int,
    queries: BackfillQueries = QUERIES,
) -> list[BackfillInput]:
    """The input of each step. Blocks. index, revision: the current meters. Raises Unavailable or Broken."""
    found = []
    pages = 0
    for work in works:
        if work is None or _is_over(work):
            found.append(BackfillInput())
            continue
        known = revision >= work.meter_id
        deleted = known and not _in_force(work, index)
        marks, wanted = _marks(work)
        read = work.state == "copying" and not deleted and pages < PAGES
        pages += read
        found.append(
            BackfillInput(
                known=known,
                deleted=deleted,
                landed=bool(wanted) and queries.landed(store, marks) == wanted,
                page=queries.page(store, work) if read else None,
            )
        )
    return found


def _is_over(work: Backfill | None) -> bool:
    return work is None or work.state in FINISHED


def _goes_on(work: Backfill | None, found: BackfillInput) -> bool:
    """Whether a step makes progress."""
    if work is None or work.state == "new":
        return found.known
    return found.landed or found.page is not None or (found.deleted and work.state != "landing")


def _in_force(work: Backfill, index: MeterIndex) -> bool:
    plan = index.get(work.namespace, str(work.definition["eventType"]))
    return plan is not None and any(reader.meter.meter_id == work.meter_id for reader in plan.readers)


def _marks(work: Backfill) -> tuple[bytes, int]:
    """The barrier for which the step waits, and in how many partitions; 0: it waits for none."""
    if work.state == "waiting":
        return start_barrier(work.meter_id), work.shards
    if work.state == "landing":
        return end_barrier(work.meter_id, work.shard), 2 * work.shards
    return b"", 0


def fill(transaction: Transaction, found: Sequence[BackfillInput], partitions: int) -> None:
    """Apply each step of the chunk once. found: the input of each record, see `look`."""
    refused: list[RefusedEvents] = []
    for record, known in zip(transaction.chunk.records, found, strict=True):
        work = _read(record)
        if work is None or _is_over(work):
            continue
        step = take(work, record.offset, transaction.table, known, record.timestamp)
        if step is None:
            continue
        _send(transaction, step, partitions)
        transaction.read(step.read)
        if record.offset > transaction.counted_offset and step.read:
            transaction.count(work.namespace, "read", step.read)
            for name, number in (*step.moves.items(), *step.totals.items()):
                transaction.count(work.namespace, name, number)
            refused += refused_in(work.namespace, step.totals)
    if refused:
        transaction.on_committed(lambda: observe_refused(refused))


def _send(transaction: Transaction, step: BackfillStep, partitions: int) -> None:
    settled: dict[int, list[Settled]] = defaultdict(list)
    windows: dict[int, list[Window]] = defaultdict(list)
    for one in step.settled:
        assert isinstance(one.event, Event)
        settled[subject_hash(one.event.namespace, one.event.subject) % partitions].append(one)
    for window in step.windows:
        windows[subject_hash(window.namespace, window.subject) % partitions].append(window)
    for topic, by_partition in (("events-settled", settled), ("usage", windows)):
        for partition, items in by_partition.items():
            for packed in _packed(items):
                transaction.send(topic, packed, partition=partition)
    for topic, partition, mark in step.marks:
        transaction.send(topic, b"[]", key=mark, partition=partition)
    for work in step.following:
        transaction.send(TOPIC, _encode(work), key=key_of(work), partition=work.shard)


def _packed(items: Sequence[Settled] | Sequence[Window]) -> Iterable[bytes]:
    return arrays([_encode(item) for item in items])


def _read(record: Record) -> Backfill | None:
    """The step; None for a tombstone, and for a record that `_look` has skipped."""
    with suppress(Rejected):
        return None if record.value is None else _work(record.value)
    return None
