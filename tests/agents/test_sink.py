"""SINK's rounds: rows first, then the position; an absent ClickHouse loses nothing and holds nothing up for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents import sink
from pipeline.engine.chunk import Chunk
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Unavailable
from pipeline.records import Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.fake_transaction import chunk_of


class Store:
    """A ClickHouse that is away for the first `away` inserts."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.rows: dict[str, int] = {}

    def ensure_schema(self) -> None: ...

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("ClickHouse does not answer.")
        self.rows[table] = self.rows.get(table, 0) + len(next(iter(columns.values())))


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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(sink, "LINGER_S", 0.01)


def settled(number: int, partition: int = 0) -> Chunk:
    event = Event("default", "/s", "1", "t", "who", 0, 0, "events", 0, 0, msgspec.Raw(b"{}"))
    value = msgspec.json.encode([Settled(event, "counted")] * number)
    return chunk_of("events-settled", [value], partition)


def usage(value: str = "1") -> Chunk:
    window = Window("default", "m", 1, "who", {}, 0, value, 1, value, "", ["ab"], 1, 0)
    return chunk_of("usage", [msgspec.json.encode([window])])


def world(away: int = 0) -> tuple[Store, Worker, sink.Rounds]:
    store, worker = Store(away), Worker()
    return store, worker, sink.Rounds(cast(Stage, worker), cast(ClickHouse, store))


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
        while not rounds._writing:  # noqa: ASYNC110 - there is no event for it, and none is needed
            await asyncio.sleep(0)
        (second,) = add(rounds, store, settled(1, 1))
        await rounds.done_with(second.chunk.position)
        assert (first.written, second.written) == ({"events": 1}, {"events": 2})

    asyncio.run(story())


def test_an_absent_clickhouse_is_asked_again_until_it_is_there() -> None:
    async def story() -> None:
        store, _, rounds = world(away=3)
        (pending,) = add(rounds, store, settled(4))
        await rounds.done_with(pending.chunk.position)
        assert (pending.end, store.rows) == ("committed", {"events": 4})

    asyncio.run(story())


def test_partitions_that_go_while_clickhouse_is_away_leave_their_chunks_undone() -> None:
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
