"""What comes while a transaction commits is one chunk; nothing is lost, held back or put out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.chunk import Chunk, Position
from pipeline.engine.group_commit import MANY_RECORDS, MOST_BYTES, MOST_RECORDS, joined
from pipeline.errors import Broken
from tests.fixtures.fake_transaction import FakeRecord


def chunk(start: int, end: int, partition: int = 0, generation: int = 1) -> Chunk:
    return chunk_of_values(start, [None] * (end - start), partition, generation)


def chunk_of_values(
    start: int, values: Sequence[bytes | None], partition: int = 0, generation: int = 1
) -> Chunk:
    records = [FakeRecord(offset, value) for offset, value in enumerate(values, start)]
    return Chunk("in", partition, start, start + len(values), records, generation)


def offsets(one: Chunk) -> list[int]:
    return [record.offset for record in one.records]


class Source:
    """A stream whose chunks come when a test says so, and one commit that a test ends."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self.commit: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[Chunk]:
        while (one := await self.queue.get()) is not None:
            yield one

    def committing(self, _: Position) -> asyncio.Future[None] | None:
        return self.commit if self.commit is not None and not self.commit.done() else None


async def during_a_commit(coming: Sequence[Chunk]) -> list[Chunk]:
    """What is given of chunks that all come while one transaction commits."""
    source = Source()
    source.commit = asyncio.get_running_loop().create_future()
    found = joined(source.chunks(), source.committing)
    for one in coming:
        source.queue.put_nowait(one)
    first = asyncio.ensure_future(anext(found))
    for _ in range(20 * len(coming)):  # until whatever can be joined is
        await asyncio.sleep(0)
    source.commit.set_result(None)
    source.queue.put_nowait(None)
    return [await first, *[one async for one in found]]


def test_a_chunk_is_not_held_back_where_nothing_commits() -> None:
    async def scenario() -> list[int]:
        source = Source()
        found = joined(source.chunks(), source.committing)
        source.queue.put_nowait(chunk(0, 1))
        one = await asyncio.wait_for(anext(found), 5)
        await found.aclose()  # type: ignore[attr-defined]
        return offsets(one)

    assert asyncio.run(scenario()) == [0]


def test_what_comes_during_a_commit_is_one_chunk() -> None:
    (one,) = asyncio.run(during_a_commit([chunk(0, 1), chunk(1, 3), chunk(3, 4)]))
    assert (one.start, one.next, offsets(one)) == (0, 4, [0, 1, 2, 3])


@pytest.mark.parametrize(
    "other",
    [
        chunk(5, 6),
        chunk(1, 2, partition=1),
        chunk(1, 2, generation=2),
        chunk(1, 1 + MOST_RECORDS),
        chunk_of_values(1, [b"x" * (MOST_BYTES + 1)]),
    ],
    ids=["a gap", "another partition", "another generation", "too many", "too large"],
)
def test_what_does_not_follow_stays_a_chunk_of_its_own(other: Chunk) -> None:
    assert asyncio.run(during_a_commit([chunk(0, 1), other])) == [chunk(0, 1), other]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_no_record_is_lost_or_out_of_order(sizes: list[int]) -> None:
    edges = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
    coming = [chunk(start, end) for start, end in pairwise(edges)]
    found = asyncio.run(during_a_commit(coming))
    assert [offset for one in found for offset in offsets(one)] == list(range(edges[-1]))
    assert all(one.next == following.start for one, following in pairwise(found))


@pytest.mark.parametrize("records", [MANY_RECORDS - 1, MANY_RECORDS])
def test_what_comes_soon_after_a_chunk_of_many_callers_is_one_chunk(records: int) -> None:
    """After one of a few nothing is held back."""

    async def scenario() -> list[list[int]]:
        source = Source()
        edges = [0, records, records + 1, records + 2]
        for start, end in pairwise(edges):
            source.queue.put_nowait(chunk(start, end))
        source.queue.put_nowait(None)
        return [offsets(one) async for one in joined(source.chunks(), source.committing, pace_s=3600)]

    first, *others = asyncio.run(scenario())
    assert first == list(range(records))
    apart = [[records], [records + 1]]
    assert others == (apart if records < MANY_RECORDS else [[records, records + 1]])


def test_an_error_of_the_stream_reaches_the_agent_after_what_came_before() -> None:
    async def chunks() -> AsyncIterator[Chunk]:
        yield chunk(0, 1)
        raise Broken("the stream")

    async def scenario() -> list[Chunk]:
        found, given = joined(chunks(), lambda _: None), []
        with pytest.raises(Broken, match="the stream"):
            async for one in found:
                given.append(one)
        return given

    assert asyncio.run(scenario()) == [chunk(0, 1)]


def test_a_cancelled_agent_leaves_no_task_that_takes_the_next_chunk() -> None:
    async def scenario() -> int:
        source = Source()
        agent = asyncio.ensure_future(anext(joined(source.chunks(), source.committing)))
        await asyncio.sleep(0)
        agent.cancel()
        await asyncio.wait([agent])
        source.queue.put_nowait(chunk(0, 1))
        for _ in range(20):
            await asyncio.sleep(0)
        return source.queue.qsize()

    assert asyncio.run(scenario()) == 1
