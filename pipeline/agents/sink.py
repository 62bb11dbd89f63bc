"""SINK: writes events with their fates, windows, unique members and usage at Stripe to ClickHouse.

Reads `events-settled`, `duplicates`, `rejected`, `usage`, `stripe-usage`. Writes rows; keeps no state.
On replay: the same rows again; they carry position and revision, and ClickHouse keeps one (ReplacingMergeTree).
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from contextlib import suppress

import faust
from prometheus_client import Counter, Histogram

from pipeline.agents.sink_rows import INPUTS, RowBatch
from pipeline.engine.chunk import Chunk, Position
from pipeline.engine.crash_points import define
from pipeline.engine.metrics import SECONDS, observe_many
from pipeline.engine.retry import FIRST_S, Retry
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.clickhouse.proof import NotStored

NAME = "sink"

POINTS = define("sink.before-insert", "sink.half-inserted", "sink.after-insert")

# How long a few rows wait for more: an insert of 5,000 rows costs ClickHouse more than twice as much a row as one of
# 20,000. Rows that are late anyway wait longer, so that the stages need less CPU while they are behind.
LINGER_S, LATE_LINGER_S = 0.1, 1.0
# A round has one chunk of each partition. How long late rows still wait once there is another chunk of one of them,
# which holds up those behind it: it bounds what lateness may cost the rate.
BLOCKED_S = 0.2
# A batch of so many rows does not wait.
FULL_ROWS, LATE_FULL_ROWS = 20_000, 60_000
# Rows are late when their newest event was received so long ago: more than a round of late rows itself takes.
LATE_MS = 6_000

FATES = Counter("tallymark_fates_total", "events written to ClickHouse, by fate", ["fate"])
ROWS = Counter("tallymark_rows_total", "rows written to ClickHouse", ["table"])
INSERT_SECONDS = Histogram("tallymark_insert_seconds", "time of one round of inserts", buckets=SECONDS)
INSERT_FAILURES = Counter("tallymark_insert_failures_total", "rounds of inserts that failed and are retried")
UNSTORED = Counter(
    "tallymark_unstored_rounds_total", "rounds of inserts that ClickHouse acknowledged but did not store"
)
FRESHNESS_SECONDS = Histogram(
    "tallymark_freshness_seconds",
    "time from the receipt of an event to its usage in ClickHouse",
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300, 3600),
)

log = logging.getLogger("tallymark.sink")


class LastWrite:
    """Whether ClickHouse took the newest round: a server that is read-only or full still answers queries."""

    def __init__(self) -> None:
        self.failure = ""  # its own words; empty: it took the round

    def require(self) -> None:
        """Raises Unavailable if the newest round was refused."""
        if self.failure:
            raise Unavailable(self.failure)


def create(stage: Stage, settings: Settings, last: LastWrite) -> None:
    """Connect to the ClickHouse of the settings, create its tables, and add the agents. last: is kept up to date."""
    store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
    rounds = Rounds(stage, store, last)
    rounds.prepare()
    stage.before_revocation = rounds.drain
    for topic in INPUTS:
        _agent(stage, rounds, topic)


def _agent(stage: Stage, rounds: Rounds, topic: str) -> None:
    async def sink(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            await rounds.done_with(chunk.position)
            if (transaction := await stage.begin(chunk)) is not None:
                rounds.add(transaction)

    sink.__name__ = sink.__qualname__ = f"sink_{topic.replace('-', '_')}"
    stage.agent(topic)(sink)


def observe(rows: RowBatch, written: dict[str, int], now_ms: int) -> None:
    """Update the metrics after a round. written: rows by table."""
    for table, number in written.items():
        if number:
            ROWS.labels(table).inc(number)
    # A backfill writes an event again, which is not counted here.
    fates = collections.Counter(one.fate for one in rows.settled if one.backfill is None)
    fates["rejected"] += len(rows.rejected)
    for fate, number in fates.items():
        FATES.labels(fate).inc(number)
    received = collections.Counter(window.received_at_ms for window in rows.windows if window.part == 0)
    observe_many(
        FRESHNESS_SECONDS, {max(0, now_ms - at_ms) / 1000: times for at_ms, times in received.items()}
    )


class Rounds:
    """Writes chunks of all partitions, at most one of each, in one round, and commits them after it."""

    def __init__(
        self,
        stage: Stage,
        store: ClickHouse,
        last: LastWrite,
        retry_first_s: float = FIRST_S,
        linger_s: float = LINGER_S,
        late_linger_s: float = LATE_LINGER_S,
    ) -> None:
        """retry_first_s: until the first retry of a write. linger_s, late_linger_s: how long a round waits for more."""
        self._stage = stage
        self._linger_s, self._late_linger_s = linger_s, late_linger_s
        self._store = store
        self._last = last
        self._retry = Retry(log, "write to ClickHouse", lambda: stage.revoking, retry_first_s)
        self._rows = RowBatch()
        self._waiting: dict[Position, Transaction] = {}  # for the next round
        self._writing: dict[Position, Transaction] = {}  # in the current round
        self._hurry = asyncio.Event()
        self._round_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ready = False

    def prepare(self) -> None:
        """Create the tables if ClickHouse is available; otherwise the first round does it."""
        try:
            self._store.ensure_schema()
            self._ready = True
        except Unavailable as error:
            log.warning("cannot create the tables of ClickHouse yet: %s", error)

    def add(self, transaction: Transaction) -> None:
        """Add a chunk to the next round."""
        chunk = transaction.chunk
        transaction.read(self._rows.take(chunk.topic, chunk.partition, chunk.records))
        self._waiting[chunk.position] = transaction
        if len(self._rows) >= (LATE_FULL_ROWS if self._is_late() else FULL_ROWS):
            self._hurry.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def done_with(self, position: Position) -> None:
        """Return when no chunk of this partition waits or is being written."""
        while position in self._waiting or position in self._writing:
            with suppress(TimeoutError):
                async with asyncio.timeout(BLOCKED_S if self._is_late() else 0):
                    await self._round_over.wait()
                    continue
            self._hurry.set()
            await self._round_over.wait()

    def _is_late(self) -> bool:
        """Whether the rows that wait are late, so that it does no harm if they wait a little longer."""
        newest_ms = self._rows.newest_received_at_ms
        return newest_ms is not None and _now_ms() - newest_ms > LATE_MS

    async def drain(self) -> None:
        """Before revocation: write what waits, or abandon it if ClickHouse is unavailable."""
        self._hurry.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._linger()
                await self._round()
        except BaseException as error:  # the process must not continue without its rounds
            self._stage.fail(error)
            raise
        self._task = None

    async def _linger(self) -> None:
        if self._stage.revoking:
            return
        try:
            async with asyncio.timeout(self._late_linger_s if self._is_late() else self._linger_s):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    async def _round(self) -> None:
        rows, self._rows = self._rows, RowBatch()
        self._writing, self._waiting = self._waiting, {}
        written = await self._write(rows)
        for transaction in self._writing.values():
            if written:
                transaction.commit()
            else:
                transaction.abandon()
        self._writing = {}
        self._round_over.set()
        self._round_over.clear()

    async def _write(self, rows: RowBatch) -> bool:
        """Whether everything is stored. It is retried until the partitions are revoked."""
        try:
            written = await self._retry.in_thread(self._write_once, rows)
        except Unavailable:
            return False
        finally:
            self._last.failure = ""  # without partitions nothing is refused
        observe(rows, written, _now_ms())
        return True

    def _write_once(self, rows: RowBatch) -> dict[str, int]:
        began_s = time.perf_counter()
        try:
            if not self._ready:
                self._store.ensure_schema()
                self._ready = True
            written = rows.write(self._store, _now_ms)
        except Unavailable as error:
            self._failed(error)
            raise
        INSERT_SECONDS.observe(time.perf_counter() - began_s)
        return written

    def _failed(self, error: Unavailable) -> None:
        INSERT_FAILURES.inc()
        self._last.failure = str(error)
        if isinstance(error, NotStored):
            UNSTORED.inc()
        self._ready = False  # a table may have been dropped: it is created again before the next attempt


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
