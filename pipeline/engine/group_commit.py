"""Joins chunks that arrive during a commit, for stages for whose records a caller waits.

Owns: joining consecutive chunks. Does not own: fetching (transport), committing (stage).
A fetch that returns at once cuts the input into small chunks, and each would cost a transaction. Waiting for more would
delay a single record. So a chunk waits only for the commit in progress, and chunks that arrive during that commit share
the next one. Which chunks are joined depends on time, and no result may depend on it: a stage that joins must decide
records in the same way for every cut into chunks.

Each transaction costs the broker and every follower of its outputs some milliseconds of CPU, however few records it
has. So after a chunk of many records, which many callers have sent at once, the next one waits a moment for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pipeline.engine.chunk import Chunk, Position

MOST_RECORDS = 4_096  # of a joined chunk
MOST_BYTES = 1 << 20  # of the values of a joined chunk: the limit of one fetch
MANY_RECORDS = 16  # a chunk of so many was sent by many callers
PACE_S = 0.05

Committing = Callable[[Position], "asyncio.Future[None] | None"]


async def joined(
    chunks: AsyncIterator[Chunk], committing: Committing, pace_s: float = PACE_S
) -> AsyncIterator[Chunk]:
    """Join the chunks that arrive while their partition commits.

    Only consecutive chunks of one generation are joined, so each result consists of whole fetches, and the stage drops
    or processes it like each of them.

    Args:
        chunks: In the order of the fetches. One is requested ahead.
        committing: Returns the commit of a partition that is in progress, or None.
        pace_s: From the begin of a chunk of MANY_RECORDS to the begin of the next one, at least.

    Yields:
        The chunks in their order, joined or not.
    """
    coming = asyncio.ensure_future(_following(chunks))
    clock, next_s = asyncio.get_running_loop().time, 0.0
    try:
        while (chunk := await coming) is not None:
            coming = asyncio.ensure_future(_following(chunks))
            while (commit := committing(chunk.position)) is not None or clock() < next_s:
                either: set[asyncio.Future[Any]] = {coming} if commit is None else {coming, commit}
                left_s = max(0.0, next_s - clock()) if commit is None else None
                await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    continue  # the commit has ended, or the moment is over
                following = coming.result()
                if following is None or not _fits(chunk, following):
                    break
                chunk = _join(chunk, following)
                coming = asyncio.ensure_future(_following(chunks))
            next_s = clock() + pace_s if len(chunk.records) >= MANY_RECORDS else 0.0
            yield chunk
    finally:
        coming.cancel()


async def _following(chunks: AsyncIterator[Chunk]) -> Chunk | None:
    return await anext(chunks, None)


def _fits(chunk: Chunk, following: Chunk) -> bool:
    return (
        following.position == chunk.position
        and following.generation == chunk.generation
        and following.start == chunk.next
        and len(chunk.records) + len(following.records) <= MOST_RECORDS
        and _bytes(chunk) + _bytes(following) <= MOST_BYTES
    )


def _bytes(chunk: Chunk) -> int:
    return sum(len(record.value or b"") for record in chunk.records)


def _join(chunk: Chunk, following: Chunk) -> Chunk:
    return Chunk(
        chunk.topic,
        chunk.partition,
        chunk.start,
        following.next,
        [*chunk.records, *following.records],
        chunk.generation,
    )
