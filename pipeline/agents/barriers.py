"""Barriers: records with a key, which carry the control revision that the records after them need.

Owns: a worker processes a chunk only once it has loaded the revision of its barriers, and later owners of the partition
never use an older one. Does not own: who publishes barriers and why (core.metering.backfill, alert_seeding). The stage
needs a table: the least revision is part of a partition's state.
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

LEAST_REVISION = b"\xff\xfeleast-revision"  # of the definitions with which a partition may be processed
KNOWN_S = 30.0  # how long definitions may take to arrive
ASK_AGAIN_S = 0.01

_revision = struct.Struct(">q")


def kept_revision(transaction: Transaction) -> int:
    """The control revision with which earlier chunks of the partition were processed."""
    (stored,) = transaction.table.get_many([LEAST_REVISION])
    return 0 if stored is None else int(_revision.unpack(stored)[0])


def least_revision(transaction: Transaction) -> int:
    """The control revision that the barriers of the chunk, or earlier ones, require."""
    marks = marks_of(transaction.chunk)
    return max([kept_revision(transaction), *map(barrier_revision, marks)])


def marks_of(chunk: Chunk) -> list[bytes]:
    """The keys of the chunk's barriers, in order; records with other keys are not barriers."""
    return [record.key for record in chunk.records if record.key is not None and is_mark(record.key)]


async def begin(
    stage: Stage,
    chunk: Chunk,
    revision: Callable[[], int],
    wanted: Callable[[Transaction], int] = least_revision,
) -> Transaction | None:
    """Like Stage.begin, once this worker has loaded the definitions that the chunk requires.

    revision: the loaded revision. wanted: the revision that the chunk requires. Raises Unavailable after KNOWN_S.
    """
    deadline_s = time.monotonic() + KNOWN_S
    while (transaction := await stage.begin(chunk)) is not None:
        least = wanted(transaction)
        if least <= revision():
            return transaction
        if time.monotonic() > deadline_s:
            raise Unavailable(
                f"{chunk.topic}/{chunk.partition} requires revision {least} of the definitions, but this worker has "
                f"loaded {revision()}"
            )
        transaction.abandon()
        await asyncio.sleep(ASK_AGAIN_S)
    return None


def keep(transaction: Transaction) -> None:
    """Store the revision that the chunk's barriers require; to be called once for a chunk that has some."""
    transaction.table.put(LEAST_REVISION, _revision.pack(least_revision(transaction)))


def keep_revision(transaction: Transaction, revision: int) -> None:
    """Store the revision with which the chunk was processed, so that no later chunk is processed with an older one."""
    if revision > kept_revision(transaction):
        transaction.table.put(LEAST_REVISION, _revision.pack(revision))
