"""Marks: records with a key that say which definitions hold behind them.

Owns: that a chunk is taken only by a worker that knows the definitions which its marks ask for, and that whoever
owns the partition afterwards goes by no older ones. Does not own: who sets marks and why (core.metering.backfill,
seeding). The stage needs a table: the least revision is part of a partition's state.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

from pipeline.core.definitions.barrier import barrier_revision
from pipeline.core.metering.backfill import is_mark
from pipeline.engine.chunk import Chunk
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Unavailable

LEAST_REVISION = b"\xff\xfeleast-revision"  # of the definitions that a partition may be decided by
KNOWN_S = 30.0  # how long definitions may take to come here
ASK_AGAIN_S = 0.01

_revision = struct.Struct(">q")


def kept_revision(transaction: Transaction) -> int:
    """The control revision by which the partition's earlier chunks were decided."""
    (stored,) = transaction.table.get_many([LEAST_REVISION])
    return 0 if stored is None else int(_revision.unpack(stored)[0])


def least_revision(transaction: Transaction) -> int:
    """The control revision that the chunk's marks, or marks before it, ask for."""
    marks = marks_of(transaction.chunk)
    return max([kept_revision(transaction), *map(barrier_revision, marks)])


def marks_of(chunk: Chunk) -> list[bytes]:
    """The keys of the chunk's marks, in order; records with any other key are none."""
    return [record.key for record in chunk.records if record.key is not None and is_mark(record.key)]


async def begin(
    stage: Stage,
    chunk: Chunk,
    revision: Callable[[], int],
    wanted: Callable[[Transaction], int] = least_revision,
) -> Transaction | None:
    """As Stage.begin, once this worker knows the definitions that the chunk must be decided by.

    revision: what this worker knows; wanted: what the chunk asks for. Raises Unavailable if that does not come soon.
    """
    deadline_s = time.monotonic() + KNOWN_S
    while (transaction := await stage.begin(chunk)) is not None:
        least = wanted(transaction)
        if least <= revision():
            return transaction
        if time.monotonic() > deadline_s:
            raise Unavailable(
                f"{chunk.topic}/{chunk.partition} is to be decided by revision {least} of the definitions, and this "
                f"worker knows {revision()}"
            )
        transaction.abandon()
        await asyncio.sleep(ASK_AGAIN_S)
    return None


def keep(transaction: Transaction) -> None:
    """Keeps what the chunk's marks ask for; to be called once a chunk that has some."""
    transaction.table.put(LEAST_REVISION, _revision.pack(least_revision(transaction)))


def keep_revision(transaction: Transaction, revision: int) -> None:
    """Keeps what the chunk was decided by, so that nobody decides the next one by older definitions."""
    if revision > kept_revision(transaction):
        transaction.table.put(LEAST_REVISION, _revision.pack(revision))
