"""A stage: one Faust app with its own consumer group, whose agents turn chunks into transactions.

Owns: the app's settings, what happens on assignment and revocation, and that the process ends on any error.
Does not own: what an agent does with a chunk, or the process (worker/process).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import TP

from pipeline.engine import membership, metrics, open_transactions
from pipeline.engine.chunk import Chunk, Position, moved
from pipeline.engine.crash_points import reach
from pipeline.engine.lineage import LineageRefused
from pipeline.engine.partition import Cluster, Partition, Spec
from pipeline.engine.producer import (
    COMMIT_TIMEOUT_S,
    INIT_TIMEOUT_S,
    TRANSACTION_TIMEOUT_MS,
    transactional_id,
)
from pipeline.engine.table import Damaged
from pipeline.engine.transaction import Transaction
from pipeline.engine.transport import ChunkConsumer, brokers, require_compiled_stream
from pipeline.errors import Broken, Unavailable

log = logging.getLogger("tallymark.engine")

BUFFERED_CHUNKS = 1  # each buffered chunk would be a transaction of its own
OPENING_THREADS = 8
IDLE_CHECK_S = 1.0
REBALANCE_TIMEOUT_S = 60.0
# A worker learns by a heartbeat that partitions have to move, so this is the most that a rebalance waits for it.
HEARTBEAT_S = 0.5
COMMITTED_S = COMMIT_TIMEOUT_S + 5.0
RENEWED_S = INIT_TIMEOUT_S + 5.0

EXIT_BROKEN = 4
EXIT_UNAVAILABLE = 3
EXIT_UNEXPECTED = 70

Agent = Callable[[faust.Stream[Chunk]], Awaitable[None]]
Done = Callable[[], None]


class Stage:
    """Runs agents exactly once per chunk.

    Args:
        spec: What the stage reads and stores.
        cluster: See partition.Cluster.
        worker_id: Client id of this worker in Kafka.
        bootstrap: Kafka bootstrap servers, `a:9092,b:9092`.
        state_dir: Folder of this worker alone.
        session_timeout_s: After so long without a heartbeat the broker gives the partitions to other workers.
        security: aiokafka's credentials, or None.
    """

    def __init__(
        self,
        spec: Spec,
        cluster: Cluster,
        *,
        worker_id: str,
        bootstrap: str,
        state_dir: Path,
        session_timeout_s: float = 10.0,
        security: Any = None,
    ) -> None:
        require_compiled_stream()
        self.spec = spec
        self.cluster = cluster
        self.state_dir = state_dir
        self.partitions: dict[Position, Partition] = {}
        self.records_in = 0
        self.events_in = 0
        self.revoking = False
        self.has_taken_over = False  # whether every assigned partition is open
        self.before_revocation: Callable[[], Awaitable[None]] | None = None
        self.after_assignment: Callable[[], None] | None = (
            None  # partitions are open, and nothing is read yet
        )
        self.before_opening: Callable[[], None] = lambda: None  # in a thread; former owners are fenced
        self.on_owned: Callable[[], None] = lambda: None  # after every change of the owned partitions
        self._threads = ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="partition")
        self._fencing: asyncio.Future[None] | None = None  # of the take-over in progress, or of the last one
        self._bootstrap, self._security = bootstrap, security
        self._busy: set[Position] = set()
        self._committing: dict[Position, asyncio.Task[None]] = {}
        self._renewing: dict[Position, asyncio.Future[None]] = {}
        self.app = _app(spec, cluster.group, worker_id, bootstrap, session_timeout_s, security, state_dir)
        cast(Any, self.app).gathers = spec.meta is not None and spec.gathers  # see fetch_pace
        cast(Any, self.app).chunk_bytes = spec.chunk_bytes
        cast(Any, self.app).on_member = partial(membership.note, state_dir)
        cast(Any, self.app).on_consumer_failure = self.fail  # from the thread of the consumer
        self.app._on_agent_error = self._on_agent_error  # type: ignore[method-assign,assignment]
        self.app.on_rebalance_complete.connect(self._on_assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.app.timer(IDLE_CHECK_S, name="idle-positions")(self._every_second)

    def agent(self, *topics: str) -> Callable[[Agent], Any]:
        """Make `async def name(chunks)` the agent of `topics`. Any error in it ends the process."""
        channel = self.app.topic(
            *topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        return cast(
            Callable[[Agent], Any],
            self.app.agent(channel, concurrency=1),
        )

    async def begin(self, chunk: Chunk) -> Transaction | None:
        """The transaction of a chunk, or None if it was fetched before a change of owner and must be dropped."""
        if (committing := self._committing.get(chunk.position)) is not None:
            await committing
        partition = self.partitions.get(chunk.position)
        if not self.spec.is_used(chunk.position):
            raise LineageRefused(
                f"{chunk.topic}/{chunk.partition} holds records, but only the first {self.spec.shards} partitions of "
                f"that topic are used: another program has written them."
            )
        if partition is None or chunk.generation != self.app.consumer_generation_id:
            return None
        if chunk.start != partition.next_offset:
            log.warning(
                "%s starts at %s, expected %s, reading again",
                chunk.position,
                chunk.start,
                partition.next_offset,
            )
            await self._consumer().seek_back(TP(*chunk.position))
            return None
        reach("chunk.begin")
        self._busy.add(chunk.position)
        if partition.has_lost_broker():
            await self._renew(partition)
            if self.partitions.get(chunk.position) is not partition:  # a rebalance took it meanwhile
                self._busy.discard(chunk.position)
                return None
        if base := partition.counts.base:
            chunk.records[:] = [moved(record, base) for record in chunk.records]
        return Transaction(self, partition, chunk)

    async def _renew(self, partition: Partition) -> None:
        """Replace a producer that has lost a broker, while the partition is busy and before its next transaction."""
        renewing = in_time(self._threads, partition.renew, RENEWED_S, "a producer was not replaced")
        self._renewing[partition.position] = asyncio.ensure_future(renewing)
        try:
            await self._renewing[partition.position]
        finally:
            del self._renewing[partition.position]
        log.info("%s continues with %s/%s: Kafka is available again", self.spec.stage, *partition.position)

    async def _wait_for_commits(self) -> None:
        """Return when no commit and no replacement of a producer is in progress."""
        await asyncio.gather(*self._committing.values(), *self._renewing.values())

    def committing(self, position: Position) -> asyncio.Task[None] | None:
        """The commit of an input partition that is in progress, or None. It ends the process if it fails."""
        return self._committing.get(position)

    def finish(
        self, chunk: Chunk, partition: Partition, commit: Callable[[], None] | None, done: Done
    ) -> None:
        """Commit in the background, so that another partition's chunk is computed meanwhile.

        commit: blocks and runs in a thread; if None, the consumer commits the position. done: called afterwards.
        """
        task = asyncio.get_running_loop().create_task(self._finish(chunk, partition, commit, done))
        self._committing[chunk.position] = task

    async def _finish(
        self, chunk: Chunk, partition: Partition, commit: Callable[[], None] | None, done: Done
    ) -> None:
        try:
            if commit is not None:
                await in_time(self._threads, commit, COMMITTED_S)
            else:
                await self._commit_by_consumer(partition, chunk.next)
        except BaseException as error:
            self.fail(error)
        self._consumer().start_offsets[TP(*chunk.position)] = partition.next_offset
        self.records_in += len(chunk.records)
        self._busy.discard(chunk.position)
        del self._committing[chunk.position]
        done()

    def abandon(self, chunk: Chunk) -> None:
        """Leave a chunk uncommitted: it is read again after the rebalance in progress."""
        self._busy.discard(chunk.position)

    def fail(self, error: BaseException) -> None:
        """End the process. The next process continues from the last commit."""
        code = EXIT_BROKEN if isinstance(error, Broken) else EXIT_UNEXPECTED
        if isinstance(error, Unavailable):
            code = EXIT_UNAVAILABLE
            log.error("%s stops and has to be restarted: %s", self.spec.stage, error)
        elif isinstance(error, LineageRefused | Damaged):
            log.critical("%s stops: %s", self.spec.stage, error)
        else:
            log.critical("%s stops", self.spec.stage, exc_info=error)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        try:
            await self._take_over()
        except BaseException as error:
            self.fail(error)

    async def _take_over(self) -> None:
        """Fence, restore and find the position of every assigned partition, also of those that were already open."""
        began = time.monotonic()
        consumer = self._consumer()
        await self._wait_for_commits()
        every = {Position(tp.topic, tp.partition) for tp in consumer.assignment()}
        assigned = {position for position in every if self.spec.is_used(position)}
        self._close_all()
        opened = [
            Partition(self.spec, self.cluster, position, self.state_dir) for position in sorted(assigned)
        ]
        if not await self._open(opened):
            return
        self.partitions = {partition.position: partition for partition in opened}
        metrics.clear_partitions()
        consumer.start_offsets = {TP(*position): one.next_offset for position, one in self.partitions.items()}
        consumer.start_offsets |= {TP(*position): 0 for position in every - assigned}
        self.revoking, self.has_taken_over = False, True
        if self.after_assignment is not None:
            self.after_assignment()
        restored = sum(partition.restored_records for partition in opened)
        seconds = time.monotonic() - began
        metrics.RESTORE_SECONDS.observe(seconds)
        self.on_owned()
        names = ", ".join(f"{topic}/{number}" for topic, number in sorted(assigned)) or "no partitions"
        log.info("%s owns %s (%d records restored in %.2f s)", self.spec.stage, names, restored, seconds)

    async def _open(self, partitions: Sequence[Partition]) -> bool:
        """Whether they are open. A rebalance that begins meanwhile ends it; the next assignment begins again."""
        consumer = self._consumer()
        if consumer.has_assignment:
            self._fencing = asyncio.ensure_future(self._fence(partitions))
            await self._fencing
        if consumer.has_assignment:
            await self._in_threads([self.before_opening])
            await self._in_threads(one.open for one in partitions)
        if consumer.has_assignment:
            return True
        for one in partitions:
            one.close()
        return False

    async def _fence(self, partitions: Sequence[Partition]) -> None:
        if self.spec.meta is not None:
            ids = [transactional_id(self.cluster.group, one.position) for one in partitions]
            await open_transactions.end(self._bootstrap, self._security, ids, TRANSACTION_TIMEOUT_MS)
        if self._consumer().has_assignment:
            await self._in_threads(one.fence for one in partitions)

    async def _in_threads(self, calls: Iterable[Callable[[], None]]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, call) for call in calls))

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        """Return when no other owner can be disturbed: what is in progress is committed, and nothing is fenced late."""
        reach("revoke")
        self.revoking, self.has_taken_over = True, False
        if self._fencing is not None:
            await asyncio.wait([self._fencing])
        if self.before_revocation is not None:
            await self.before_revocation()
        await self._wait_for_commits()

    async def _on_agent_error(self, _agent: Any, error: BaseException) -> None:
        self.fail(error)

    def _close_all(self) -> None:
        for partition in self.partitions.values():
            partition.close()
        self.partitions = {}

    async def _every_second(self) -> None:
        await self._skip_markers()
        self._observe_partitions()

    def _observe_partitions(self) -> None:
        """Update the metrics of lag and state size. The end of a partition is that of its last fetch."""
        stage = self.spec.stage
        metrics.OWNED.labels(stage).set(len(self.partitions))
        for position, partition in self.partitions.items():
            name = f"{position.topic}/{position.partition}"
            end = self._consumer().highwater(TP(*position))
            if end is not None:
                metrics.LAG_RECORDS.labels(stage, name).set(max(0, end - partition.next_offset))
            if partition.table is not None:
                metrics.STATE_KEYS.labels(stage, name).set(partition.table.estimated_keys())

    async def _skip_markers(self) -> None:
        """Commit past transaction markers at the end of an idle partition, so that its lag is 0."""
        if self.revoking or self.app.rebalancing:
            return
        try:
            for position, partition in list(self.partitions.items()):
                if position not in self._busy:
                    await self._skip_markers_of(position, partition)
        except Unavailable as error:
            self.fail(error)

    async def _skip_markers_of(self, position: Position, partition: Partition) -> None:
        following = await self._consumer().idle_position(TP(*position), partition.next_offset)
        if following is None or following <= partition.next_offset or position in self._busy:
            return
        self._busy.add(position)
        try:
            if self.spec.meta is not None:
                if partition.has_lost_broker():
                    await self._renew(partition)
                await in_time(self._threads, lambda: partition.commit_position(following), COMMITTED_S)
            else:
                await self._commit_by_consumer(partition, following)
        finally:
            self._busy.discard(position)
        self._consumer().start_offsets[TP(*position)] = following

    async def _commit_by_consumer(self, partition: Partition, next_offset: int) -> None:
        await self._consumer().commit_offsets({TP(*partition.position): next_offset})
        partition.next_offset = next_offset

    def _consumer(self) -> ChunkConsumer:
        return cast(ChunkConsumer, self.app.consumer)


async def in_time(
    threads: Executor, call: Callable[[], None], limit_s: float, what: str = "a transaction did not commit"
) -> None:
    """Run a blocking call in a thread. Raises Unavailable, with `what` and the limit, when it takes longer.

    The thread stays blocked then, so the process has to end. librdkafka's send_offsets_to_transaction can exceed its
    own timeout: when the group coordinator goes away during a transaction, it may wait for ever (see producer).
    """
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().run_in_executor(threads, call)
    except TimeoutError as error:
        raise Unavailable(f"{what} within {limit_s:g} s, so the outcome is unknown") from error


def _app(
    spec: Spec,
    group: str,
    worker_id: str,
    bootstrap: str,
    session_timeout_s: float,
    security: Any,
    state_dir: Path,
) -> faust.App:
    """A Faust app without the parts that Tallymark replaces: tables, topic creation, commits, web server."""
    return faust.App(
        group,
        broker=brokers(bootstrap),
        broker_client_id=worker_id,
        broker_credentials=security,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=min(session_timeout_s / 4, HEARTBEAT_S),
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        consumer_max_fetch_size=spec.fetch_bytes,
        stream_buffer_maxsize=BUFFERED_CHUNKS,
        datadir=str(state_dir / "faust"),
        store="memory://",
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_tables_enabled=False,
        web_router_enabled=False,
        autodiscover=False,
        origin=None,
        stream_recovery_delay=0.0,
        key_serializer="raw",
        value_serializer="raw",
    )
