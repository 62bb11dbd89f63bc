"""DEDUPE: passes on the first event of each identity, and settles repeats as duplicate or conflict.

Reads `events-accepted`. Writes `events-unique`, packed, partitioned by subject, and `duplicates`.
Keeps: an entry per identity for horizon + future limit (RocksDB; `dedupe-changelog`, a record per chunk); counts.
On replay: an identity first seen at the same position passes again, and its entry is written again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import faust
import msgspec

from pipeline.core.metering.dedupe import dedupe as decide
from pipeline.core.metering.dedupe import expired, pack_entries, unpack_entries
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.sweep import SweepProgress, sweep
from pipeline.engine.changelog import Changelog, Pair
from pipeline.engine.chunk import Chunk
from pipeline.engine.packing import arrays, slices
from pipeline.engine.stage import Stage
from pipeline.engine.table import Item, Overlay
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import AcceptedBatch

NAME = "dedupe"
SWEPT_ENTRIES = 1_000  # checked per chunk
SWEEP_EVERY_MS = 3_600_000  # of the broker's time: pause between two passes over the whole table
ENTRY_BYTES = 64  # approximate size of an entry in a changelog record

_batch = reader_of(AcceptedBatch)
_encode = msgspec.json.Encoder().encode


def _pack(changes: Mapping[bytes, bytes | None]) -> Iterable[Pair]:
    """Expired entries are not written: they also expire by the changelog's retention."""
    entries = [(key, value) for key, value in changes.items() if value is not None]
    for cut in slices([ENTRY_BYTES] * len(entries)):
        yield None, pack_entries(entries[cut])


def _unpack(_: bytes | None, value: bytes | None) -> Iterable[Item]:
    return unpack_entries(value or b"")


CHANGELOG = Changelog("dedupe-changelog", _pack, _unpack)


def create(stage: Stage, partitions: int, lifetime_ms: int, lag_ms: int) -> None:
    """partitions: of `events-unique`. lifetime_ms: for how long an identity is recognised.

    lag_ms: how long an event may wait in the input topics before ingest reads it: their retention.
    """
    sweeping = Sweep(lifetime_ms + lag_ms)

    async def dedupe(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                fill(transaction, partitions, lifetime_ms, sweeping)
                transaction.commit()

    stage.agent("events-accepted")(dedupe)


def fill(transaction: Transaction, partitions: int, lifetime_ms: int, sweeping: Sweep) -> None:
    """Decide each packed record of the chunk once."""
    chunk, table = transaction.chunk, transaction.table
    unique: defaultdict[int, list[bytes]] = defaultdict(list)
    repeats: list[bytes] = []
    now_ms = 0
    for record in chunk.records:
        batch = read(chunk, record, _batch)
        if batch is None:
            continue
        decided = decide(batch, record.offset, table, lifetime_ms)
        for identity, entry in decided.entries:
            table.put(identity, entry)
        for subject_hash, event in decided.unique:
            unique[subject_hash % partitions].append(event)
        repeats += map(_encode, decided.repeats)
        now_ms = max(now_ms, record.timestamp)
        transaction.read(len(batch.events))
        if record.offset > transaction.counted_offset:
            for namespace, names in decided.counts.items():
                for name, number in names.items():
                    transaction.count(namespace, name, number)
    for target, events in unique.items():
        for packed in arrays(events):
            transaction.send("events-unique", packed, partition=target)
    for packed in arrays(repeats):
        transaction.send("duplicates", packed, partition=chunk.partition)
    sweeping.advance(table, chunk.partition, now_ms)


class Sweep:
    """Removes expired entries, a slice of the table per chunk, front to end, and again after a pause.

    A repeat is compared by its own time of arrival, which is up to the input's retention before `now_ms` when ingest
    lags. So an entry is kept longer by that time, and a removed entry cannot match an event that still arrives.
    """

    def __init__(self, age_ms: int) -> None:
        self._age_ms = age_ms
        self._progress = SweepProgress(SWEEP_EVERY_MS)

    def advance(self, table: Overlay, partition: int, now_ms: int) -> None:
        """Check the next slice; `now_ms` is the broker's time."""
        changes, age_ms = table.changes, self._age_ms

        def is_expired(key: bytes, entry: bytes) -> bool:
            return key not in changes and expired(entry, now_ms, age_ms)

        self._progress.advance(
            partition, now_ms, lambda start: sweep(table, SWEPT_ENTRIES, is_expired, start=start)
        )
