"""SINK's rounds: rows first, then the position; an absent ClickHouse loses nothing and holds nothing up for ever."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import REGISTRY

from pipeline.agents import sink
from pipeline.engine.chunk import Chunk
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Unavailable
from pipeline.records import Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.fake_transaction import FakeRecord, chunk_of
from tests.fixtures.patience import PATIENCE_S


class Store:
    """A ClickHouse that is unavailable for the first `away` inserts, and then acknowledges `lost` without storing."""

    def __init__(self, away: int = 0, lost: int = 0) -> None:
        self.away, self.lost = away, lost
        self.schemas = 0
        self.asked = threading.Event()  # the first insert has begun
        self.stored: dict[tuple[str, int], int] = {}  # rows by table and insert id

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table, of every attempt."""
        sums: dict[str, int] = {}
        for (table, _), rows in self.stored.items():
            sums[table] = sums.get(table, 0) + rows
        return sums

    def ensure_schema(self) -> None:
        self.schemas += 1

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        self.asked.set()
        if self.away:
            self.away -= 1
            raise Unavailable("ClickHouse does not answer.")
        if self.lost:
            self.lost -= 1
            return
        for insert_id in columns["insert_id"]:
            self.stored[table, insert_id] = self.stored.get((table, insert_id), 0) + 1

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[int]]:
        if "insert_id" not in parameters:  # a row is looked up: none was replaced by a newer one
            return []
        table = sql.removeprefix("SELECT count() FROM ").split()[0]
        return [(self.stored.get((table, parameters["insert_id"]), 0),)]


class Pending:
    """A transaction that remembers how it ended, and what was written by then."""

    def __init__(self, chunk: Chunk, store: Store) -> None:
        self.chunk = chunk
        self.end = ""
        self.written: dict[str, int] = {}
        self._store = store

    def read(self, events: int) -> None: ...

    def commit(self) -> None:
        self.end, self.written = "committed", dict(self._store.rows)

    def abandon(self) -> None:
        self.end = "abandoned"


class Worker:
    """The part of a stage that rounds use."""

    def __init__(self) -> None:
        self.revoking = False
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error = error


def settled(number: int, partition: int = 0) -> Chunk:
    events = [
        Event("default", "/s", "1", "t", "who", 0, 0, "events", partition, offset, msgspec.Raw(b"{}"))
        for offset in range(number)
    ]
    value = msgspec.json.encode([Settled(event, "counted") for event in events])
    return chunk_of("events-settled", [value], partition)


def usage(value: str = "1", received_at_ms: int = 0) -> Chunk:
    window = Window("default", "m", 1, "who", {}, 0, value, 1, value, "", ["ab"], 1, received_at_ms)
    return chunk_of("usage", [msgspec.json.encode([window])])


def world(
    away: int = 0, lost: int = 0, linger_s: float = 0.01, late_linger_s: float = 0.01
) -> tuple[Store, Worker, sink.Rounds]:
    store, worker = Store(away, lost), Worker()
    rounds = sink.Rounds(
        cast(Stage, worker), cast(ClickHouse, store), sink.LastWrite(), 0.001, linger_s, late_linger_s
    )
    return store, worker, rounds


def add(rounds: sink.Rounds, store: Store, *chunks: Chunk) -> list[Pending]:
    pending = [Pending(chunk, store) for chunk in chunks]
    for one in pending:
        rounds.add(cast(Transaction, one))
    return pending


def test_chunks_of_several_partitions_are_written_together_and_then_committed() -> None:
    async def story() -> None:
        store, _, rounds = world()
        pending = add(rounds, store, settled(3, 0), settled(2, 1), usage())
        await rounds.done_with(pending[0].chunk.position)
        assert {one.end for one in pending} == {"committed"}
        assert pending[0].written == {"events": 5, "windows": 1, "uniques": 1}

    asyncio.run(story())


def test_what_comes_while_a_round_is_written_goes_into_the_next() -> None:
    async def story() -> None:
        store, _, rounds = world()
        (first,) = add(rounds, store, settled(1, 0))
        assert await asyncio.to_thread(store.asked.wait, 10)
        (second,) = add(rounds, store, settled(1, 1))
        await rounds.done_with(second.chunk.position)
        assert (first.written, second.written) == ({"events": 1}, {"events": 2})

    asyncio.run(story())


def test_rows_that_are_late_anyway_wait_longer_for_more() -> None:
    async def story(received_at_ms: int) -> int:
        store, _, rounds = world(linger_s=0.0, late_linger_s=1000.0)
        add(rounds, store, usage(received_at_ms=received_at_ms))
        for _ in range(100):
            await asyncio.sleep(0.001)
        written = len(store.stored)
        await rounds.drain()
        assert len(store.stored) == 2  # the window and its member, whether or not they were late
        return written

    now_ms = time.time_ns() // 1_000_000
    assert asyncio.run(story(now_ms - sink.LATE_MS - 1)) == 0
    assert asyncio.run(story(now_ms)) == 2


@pytest.mark.parametrize("late", [False, True])
def test_the_next_chunk_of_a_partition_is_not_held_up_for_long(late: bool) -> None:
    async def story() -> float:
        received_at_ms = 0 if late else time.time_ns() // 1_000_000
        store, _, rounds = world(linger_s=1000.0, late_linger_s=1000.0)
        began_s = time.monotonic()
        for _ in range(3):
            (pending,) = add(rounds, store, usage(received_at_ms=received_at_ms))
            async with asyncio.timeout(PATIENCE_S):
                await rounds.done_with(pending.chunk.position)
            assert pending.end == "committed"
        return time.monotonic() - began_s

    assert asyncio.run(story()) >= (3 * sink.BLOCKED_S if late else 0)


def test_a_round_does_not_wait_for_more_while_partitions_are_taken_away() -> None:
    async def story() -> None:
        store, worker, rounds = world(linger_s=1000.0, late_linger_s=1000.0)
        worker.revoking = True
        (pending,) = add(rounds, store, usage())
        assert rounds._task is not None
        async with asyncio.timeout(PATIENCE_S):
            await rounds._task
        assert pending.end == "committed"

    asyncio.run(story())


def test_an_absent_clickhouse_is_asked_again_until_it_is_there() -> None:
    async def story() -> None:
        store, _, rounds = world(away=3)
        (pending,) = add(rounds, store, settled(4))
        await rounds.done_with(pending.chunk.position)
        assert (pending.end, store.rows) == ("committed", {"events": 4})

    asyncio.run(story())


def test_rows_that_were_acknowledged_and_not_stored_are_written_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = REGISTRY.get_sample_value("tallymark_unstored_rounds_total")

    async def story() -> None:
        store, _, rounds = world(lost=2)
        events, windows = add(rounds, store, settled(4), usage())
        await rounds.done_with(events.chunk.position)
        assert {events.end, windows.end} == {"committed"}
        assert store.rows == {
            "events": 4,
            "uniques": 1,
            "windows": 2,
        }  # the first attempt stored a window alone
        assert store.schemas == 2

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert "ClickHouse acknowledged 4 rows of events, but 4 of them are not stored" in caplog.text
    assert (before or 0) + 1 == REGISTRY.get_sample_value("tallymark_unstored_rounds_total")


def test_a_mark_is_written_only_when_what_stood_before_it_is_stored() -> None:
    async def story() -> None:
        store, worker, rounds = world(lost=10**9)
        mark = replace(usage(), records=[FakeRecord(0, b"[]", key=b"7")])
        (pending,) = add(rounds, store, settled(4), mark)[:1]
        worker.revoking = True
        await rounds.drain()
        assert pending.end == "abandoned"
        assert store.lost == 10**9 - 1  # the mark was never tried

    asyncio.run(story())


def test_partitions_revoked_while_clickhouse_is_unavailable_leave_their_chunks_uncommitted() -> None:
    async def story() -> None:
        store, worker, rounds = world(away=10**9)
        (pending,) = add(rounds, store, settled(4))
        worker.revoking = True
        await rounds.drain()
        assert pending.end == "abandoned"

    asyncio.run(story())


def test_rows_that_the_store_refuses_end_the_process() -> None:
    async def story() -> None:
        store, worker, rounds = world()
        monkey = cast(Any, store)
        monkey.insert = lambda *_: 1 / 0
        (pending,) = add(rounds, store, settled(1))
        with pytest.raises(ZeroDivisionError):
            await rounds.drain()
        assert isinstance(worker.error, ZeroDivisionError)
        assert pending.end == ""

    asyncio.run(story())
