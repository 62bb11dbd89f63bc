"""A Faust transport driver that delivers chunks: `tallymark://host:port` in place of `kafka://host:port`.

Owns: fetching whole chunks through Faust's aiokafka driver, and where each partition's fetch starts. Faust's cost per
event (four asyncio tasks a message) becomes a cost per chunk. Does not own: offsets, which the transaction commits, so
Faust's own commit is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import aiokafka
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError
from faust.auth import Credentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.engine.chunk import Chunk
from pipeline.engine.consumer_watch import ConsumerWatch, refused
from pipeline.engine.fetch_pace import FIRST_RECORD_MS, FetchPace
from pipeline.engine.packing import slices

METADATA_MAX_AGE_MS = 10_000  # new partitions of a topic are found within this time
FULL_POLL_S = 0.005  # pause before the next look while every agent's buffer is full
# An agent may wait for a service for long; liveness is checked by the heartbeat.
MAX_POLL_INTERVAL_MS = 24 * 3_600_000


def _as_parsed(_self: PartitionRecords, _tp: TP, record: Any) -> Any:
    return record


# aiokafka copies each record that it has parsed into a slow dataclass. The parsed one has all members of chunk.Record.
PartitionRecords._consumer_record = _as_parsed


class ChunkThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread. It reads committed records, and a fetch returns {partition: chunks}."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positions: dict[TP, int] = {}
        self._watching: asyncio.Task[None] | None = None

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = cast(Any, RoundRobinPartitionAssignor)
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",  # the engine seeks every partition itself
            isolation_level="read_committed",
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_min_bytes=1,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            fetch_max_wait_ms=FIRST_RECORD_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            **driver.credentials_to_aiokafka_auth(
                cast(Credentials, conf.broker_credentials), conf.ssl_context
            ),
        )

    async def on_start(self) -> None:
        """Connect, pace the fetches, and watch the consumer."""
        await super().on_start()
        consumer = self._ensure_consumer()
        if cast(Any, self.app).gathers:
            FetchPace(consumer._fetcher, self.app.conf.consumer_max_fetch_size)
        watch = ConsumerWatch(
            self.app.conf.id, consumer._coordinator, cast(Any, self.app).on_consumer_failure
        )
        self._watching = asyncio.get_running_loop().create_task(watch.run())

    async def on_thread_stop(self) -> None:
        """End the watch with the consumer."""
        if self._watching is not None:
            self._watching.cancel()
        await super().on_thread_stop()

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is Faust's
        max_records: int | None = None,
    ) -> Any:
        try:
            fetched = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=None
            )
        except NoOffsetForPartitionError:
            return {}  # a partition without a committed offset is assigned, and the engine has not sought it yet
        except ConsumerStoppedError:
            raise
        except (
            KafkaError
        ) as error:  # Faust would stop its services for it, which takes a minute without a broker
            if not self.app.should_stop:
                cast(Any, self.app).on_consumer_failure(refused(self.app.conf.id, error))
            raise
        return {tp: self._chunks(consumer, tp, records) for tp, records in fetched.items() if records}

    def _chunks(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP, records: list[Any]) -> list[Chunk]:
        """One chunk, or several of records that compress well: the limit of a fetch counts compressed bytes."""
        start = self.positions.get(tp, -1)
        state = consumer._subscription.subscription.assignment.state_value(tp)
        following = state.position if state is not None and state.has_valid_position else -1
        self.positions[tp] = following
        cuts = list(slices([len(one.value or b"") for one in records], cast(Any, self.app).chunk_bytes))
        ends = [*(records[cut.start].offset for cut in cuts[1:]), following]
        starts, generation = [start, *ends], self.app.consumer_generation_id
        return [
            Chunk(tp.topic, tp.partition, first, end, records[cut], generation)
            for cut, first, end in zip(cuts, starts, ends, strict=False)
        ]

    @property
    def member_id(self) -> str:
        """The id of this process in its group."""
        return str(self._ensure_consumer()._coordinator.member_id)

    async def idle_position(self, tp: TP, processed: int) -> int | None:
        """Where the next fetch of `tp` starts if everything up to it is processed, else None."""
        result: int | None = await self.call_thread(self._idle_position, tp, processed)
        return result

    async def _idle_position(self, tp: TP, processed: int) -> int | None:
        consumer = self._ensure_consumer()
        if tp not in consumer.assignment() or self.positions.get(tp) != processed:
            return None
        state = consumer._subscription.subscription.assignment.state_value(tp)
        if state is None or not state.has_valid_position or state.position <= processed:
            return None
        self.positions[tp] = state.position
        return int(state.position)

    async def seek_to(self, offsets: Mapping[TP, int]) -> None:
        """Fetch from `offsets` onwards; aiokafka discards a fetch in progress from elsewhere."""
        await self.call_thread(self._seek_to, offsets)

    async def _seek_to(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            if tp in consumer.assignment():
                consumer.seek(aiokafka.TopicPartition(*tp), offset)
                self.positions[tp] = offset


class ChunkConsumer(driver.Consumer):
    """Faust's consumer without its offset tracking: a message is a chunk, and nothing is committed here."""

    _thread: ChunkThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Set by the stage: the start offset of each assigned partition.
        self.start_offsets: dict[TP, int] = {}
        self.has_assignment = False  # what is assigned was not revoked

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Kafka has assigned partitions. Faust takes them over later, in a task of its own."""
        self.has_assignment = True
        with self._ending_the_process():
            cast(Any, self.app).on_member(self._thread.member_id)
            await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins; Kafka waits for the return."""
        self.has_assignment = False
        with self._ending_the_process():
            await super().on_partitions_revoked(revoked)

    @contextmanager
    def _ending_the_process(self) -> Iterator[None]:
        """Any error ends it: aiokafka would log the error, and then wait for ever with partitions that are not read."""
        try:
            yield
        except Exception as error:
            cast(Any, self.app).on_consumer_failure(error)
            raise

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        chunk = cast(Chunk, record)
        last = chunk.records[-1]
        place: tuple[Any, ...] = (tp.topic, tp.partition, last.offset, last.timestamp / 1000, 1)
        content: tuple[Any, ...] = ((), None, chunk, None, 0, 0, tp)
        make = cast(Callable[..., ConsumerMessage], ConsumerMessage)  # its value is a chunk here
        return make(*place, *content, generation_id=chunk.generation)

    async def perform_seek(self) -> None:
        """Seek to the start offsets. Faust calls it before it resumes the flow, and after it drops a fetch."""
        offsets = {tp: offset for tp, offset in self.start_offsets.items() if tp in self.assignment()}
        await self._thread.seek_to(offsets)
        self._read_offset.clear()

    async def idle_position(self, tp: TP, processed: int) -> int | None:
        """See ChunkThread.idle_position."""
        return await self._thread.idle_position(tp, processed)

    async def seek_back(self, tp: TP) -> None:
        """Read `tp` again from its start offset, after a chunk that does not follow its predecessor."""
        await self._thread.seek_to({tp: self.start_offsets[tp]})

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit for a stage without transactions; the broker refuses a stale generation."""
        return await self._thread.commit(offsets)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Clear Faust's own bookkeeping; the transaction has committed the offsets."""
        self._acked.clear()
        self._acked_index.clear()
        return False

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore gaps in the offsets: they are transaction markers."""

    async def verify_all_partitions_active(self) -> None:
        """Skip Faust's check, which assumes one offset per message."""

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        if self.flow_active and not self._get_active_partitions():
            await asyncio.sleep(FULL_POLL_S)
            return None, None
        return await super()._wait_next_records(timeout)


class Transport(driver.Transport):
    """Selected by the URL scheme `tallymark://` (entry point group `faust.transports`)."""

    Consumer: ClassVar[type[Any]] = ChunkConsumer
    default_port = 9092


def require_compiled_stream() -> None:
    """Check for the compiled stream: Faust's pure-Python one acknowledges records that it skips.

    Raises RuntimeError if this build of Faust has no compiled stream.
    """
    import faust.streams

    if getattr(faust.streams, "_CStreamIterator", None) is None:
        raise RuntimeError(
            "this build of faust-streaming has no compiled stream: install a wheel with extensions"
        )


def brokers(bootstrap: str) -> Iterable[str]:
    """The URLs that Faust needs for a librdkafka bootstrap list `a:9092,b:9092`."""
    return [f"tallymark://{one.strip()}" for one in bootstrap.split(",") if one.strip()]
