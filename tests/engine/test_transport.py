"""Chunks as they are fetched from the real broker: whole, in order, and over the offsets that hold no record."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiokafka
import pytest
from aiokafka.errors import KafkaError
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from faust.types import TP

from pipeline.engine.chunk import Chunk
from pipeline.engine.partition import CHUNK_BYTES, Cluster, Spec
from pipeline.engine.producer import group_metadata
from pipeline.engine.stage import Stage
from pipeline.engine.transport import ChunkConsumer, ChunkThread, brokers
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.fixtures.patience import PATIENCE_S

ATTEMPTS = 200  # of a fetch, each of which waits for records up to WAIT_S
WAIT_S = 0.1


@dataclass
class Log:
    """A topic with one partition, and who writes to it."""

    settings: Settings
    folder: Path
    topic: str
    chunk_bytes: int = CHUNK_BYTES

    @property
    def tp(self) -> TP:
        return TP(self.topic, 0)

    def write(self, *values: bytes, commit: bool = True) -> None:
        """The values in one transaction, which leaves a marker behind them."""
        config = cluster.client_config(self.settings)
        producer = Producer({**config, "transactional.id": f"t-{self.topic}"})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(self.topic, value, partition=0)
        producer.flush()
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    def stage(self, group: str) -> Stage:
        """A stage that reads the topic and keeps nothing: its app is what the transport is configured by."""
        config = cluster.client_config(self.settings)
        ids = cluster.topic_ids(self.settings, [self.topic])
        spec = Spec("stage", (self.topic,), chunk_bytes=self.chunk_bytes)
        joined = Cluster(config, group, group_metadata(config, group), ids)
        address = self.settings.kafka
        return Stage(spec, joined, worker_id="w", bootstrap=address, state_dir=self.folder)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[ChunkThread, aiokafka.AIOKafkaConsumer]]:
        """The consumer's half of the transport, at offset 0 of the partition, without a group to wait for."""
        app = self.stage(f"g-{self.topic}").app
        transport = SimpleNamespace(app=app, url=app.conf.broker, default_port=9092)
        owner: Any = SimpleNamespace(
            app=app, transport=transport, flow_active=True, RebalanceListener=lambda thread: None
        )
        app.consumer_generation_id = 7
        thread = ChunkThread(owner)
        consumer = thread._create_worker_consumer(transport)
        thread._consumer = consumer
        consumer._group_id = None
        consumer.assign([aiokafka.TopicPartition(self.topic, 0)])
        await consumer.start()
        try:
            await thread._seek_to({self.tp: 0})
            yield thread, consumer
        finally:
            await asyncio.sleep(0)  # aiokafka cannot stop a coordinator whose task has not run once
            await consumer.stop()


@pytest.fixture
def log(settings: Settings, tmp_path: Path) -> Iterator[Log]:
    topic = f"in-{uuid.uuid4().hex[:8]}"
    admin = cluster.admin(settings)
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result()
    yield Log(settings, tmp_path, topic)


async def fetch(thread: ChunkThread, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> Chunk:
    (chunk,) = await fetch_all(thread, consumer, tp)
    return chunk


async def fetch_all(thread: ChunkThread, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> list[Chunk]:
    """The chunks of one fetch."""
    for _ in range(ATTEMPTS):
        found: dict[TP, list[Chunk]] = await thread._fetch_records(consumer, {tp}, timeout=WAIT_S)
        if tp in found:
            return found[tp]
    raise AssertionError(f"nothing came from {tp}")


async def idle(thread: ChunkThread, consumer: aiokafka.AIOKafkaConsumer, tp: TP, processed: int) -> int:
    for _ in range(ATTEMPTS):
        await thread._fetch_records(consumer, {tp}, timeout=WAIT_S)
        if (position := await thread._idle_position(tp, processed)) is not None:
            return position
    raise AssertionError(f"{tp} did not move past {processed}")


def values(chunk: Chunk) -> list[bytes]:
    return [record.value for record in chunk.records]


def test_a_chunk_spans_its_records_and_the_marker_behind_them(log: Log) -> None:
    log.write(b"a", b"b")
    log.write(b"c")

    async def main() -> tuple[list[bytes], list[tuple[int, int]], set[int]]:
        async with log.reading() as (thread, consumer):
            found, spans, generations = [], [], set()
            while len(found) < 3:
                chunk = await fetch(thread, consumer, log.tp)
                found += values(chunk)
                spans.append((chunk.start, chunk.next))
                generations.add(chunk.generation)
            return found, spans, generations

    found, spans, generations = asyncio.run(main())
    assert found == [b"a", b"b", b"c"]
    assert spans[0][0] == 0
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    assert spans[-1][1] >= 4  # a, b, marker, c and, once it was fetched, the second marker
    assert generations == {7}


def test_records_that_are_large_together_are_several_chunks(log: Log) -> None:
    log.chunk_bytes = 4
    log.write(b"aa", b"bb", b"cc", b"larger than a chunk", b"")

    async def main() -> tuple[list[Chunk], int | None]:
        async with log.reading() as (thread, consumer):
            found = await fetch_all(thread, consumer, log.tp)
            return found, await thread._idle_position(log.tp, found[0].next)

    found, idle_position = asyncio.run(main())
    assert [values(chunk) for chunk in found] == [[b"aa", b"bb"], [b"cc"], [b"larger than a chunk"], [b""]]
    assert [chunk.start for chunk in found] == [0, 2, 3, 4]
    assert all(left.next == right.start for left, right in itertools.pairwise(found))
    assert found[-1].next >= 5
    assert idle_position is None  # the chunks after the first are not processed


def test_aborted_records_are_skipped(log: Log) -> None:
    log.write(b"lost", commit=False)
    log.write(b"kept")

    async def main() -> Chunk:
        async with log.reading() as (thread, consumer):
            return await fetch(thread, consumer, log.tp)

    chunk = asyncio.run(main())
    assert values(chunk) == [b"kept"]
    assert (chunk.start, chunk.records[0].offset) == (0, 2)


def test_an_idle_partition_moves_over_what_holds_no_record(log: Log) -> None:
    log.write(b"a")

    async def main() -> tuple[int, int | None, int | None]:
        async with log.reading() as (thread, consumer):
            chunk = await fetch(thread, consumer, log.tp)
            await asyncio.to_thread(log.write, b"lost", commit=False)
            moved = await idle(thread, consumer, log.tp, chunk.next)
            again = await thread._idle_position(log.tp, moved)
            behind = await thread._idle_position(log.tp, 0)
            return moved, again, behind

    moved, again, behind = asyncio.run(main())
    assert moved == 4  # a, its marker, the aborted record, its marker
    assert again is None  # there is nothing more to pass over
    assert behind is None  # a position that is not the last fetched one never moves the partition


def test_a_seek_reads_the_same_chunk_again(log: Log) -> None:
    log.write(b"a", b"b", b"c")

    async def main() -> tuple[Chunk, Chunk]:
        async with log.reading() as (thread, consumer):
            first = await fetch(thread, consumer, log.tp)
            await thread._seek_to({log.tp: 1})
            return first, await fetch(thread, consumer, log.tp)

    first, second = asyncio.run(main())
    assert values(first) == [b"a", b"b", b"c"]
    assert (second.start, values(second)) == (1, [b"b", b"c"])


def test_a_partition_of_another_owner_is_left_alone(log: Log) -> None:
    async def main() -> tuple[int | None, dict[TP, int]]:
        async with log.reading() as (thread, _):
            other = TP(log.topic, 1)
            await thread._seek_to({other: 5})
            return await thread._idle_position(other, 5), dict(thread.positions)

    assert asyncio.run(main()) == (None, {log.tp: 0})


def test_a_list_of_brokers_is_one_url_each() -> None:
    assert list(brokers("a:9092, b:9093,")) == ["tallymark://a:9092", "tallymark://b:9093"]


@pytest.mark.parametrize("stops", [False, True])
def test_an_error_of_the_consumer_ends_the_worker_at_once_unless_it_stops(log: Log, stops: bool) -> None:
    """Such as a connection that is closed while the coordinator is looked up: Faust alone takes a minute to end."""
    error = KafkaError("Unexpected error during coordination RuntimeError('the handler is closed')")

    async def main() -> list[Unavailable]:
        failures: list[Unavailable] = []
        async with log.reading() as (thread, consumer):
            cast(Any, thread.app).on_consumer_failure = failures.append
            if stops:
                thread.app._stopped.set()
            fetching = asyncio.create_task(thread._fetch_records(consumer, {log.tp}, timeout=PATIENCE_S))
            while not fetching.done():
                consumer._subscription.abort_waiters(error)
                await asyncio.sleep(WAIT_S)
            assert str(fetching.exception()) == str(error)
        return failures

    failures = asyncio.run(main())
    assert len(failures) == (not stops)
    assert all("Unexpected error during coordination" in str(one) for one in failures)


def test_an_error_while_partitions_are_assigned_ends_the_worker_too() -> None:
    """aiokafka itself logs it, and the partitions would have an owner that never reads them."""
    failures: list[Exception] = []
    consumer: Any = SimpleNamespace(app=SimpleNamespace(on_consumer_failure=failures.append))
    error = OSError("No space left on device")
    with pytest.raises(OSError, match="No space left"), ChunkConsumer._ending_the_process(consumer):
        raise error
    assert failures == [error]
    with ChunkConsumer._ending_the_process(consumer):
        pass
    assert failures == [error]
