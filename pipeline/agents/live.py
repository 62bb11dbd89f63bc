"""LIVE: keeps a copy of all balances in Redis, for reads in less than a millisecond.

Reads `balances`. Writes to Redis, guarded by revision; keeps no state.
On replay: the same balances again; an older one replaces nothing. If Redis was emptied, the copy is rebuilt.
"""

from __future__ import annotations

import asyncio
import logging
import time

import faust
from prometheus_client import Counter, Histogram

from pipeline.agents.live_rebuild import INPUT, refill
from pipeline.core.values.json_value import reader_of
from pipeline.engine.chunk import Chunk, Position
from pipeline.engine.metrics import SECONDS
from pipeline.engine.restore import Reader
from pipeline.engine.retry import Retry
from pipeline.engine.stage import Stage
from pipeline.engine.unreadable import read
from pipeline.errors import Unavailable
from pipeline.records import Balance
from pipeline.stores.redis_balances import BalanceWriter

NAME = "live"

LOOK_S = 1.0  # interval of the check whether Redis was emptied
RETRY_FIRST_S = 0.1

REBUILDS = Counter(
    "tallymark_live_rebuilds_total", "rebuilds of a partition's balances in Redis from the topic"
)
BALANCE_SECONDS = Histogram(
    "tallymark_balance_freshness_seconds",
    "time from the receipt of an event to its balance in Redis",
    buckets=SECONDS,
)

log = logging.getLogger("tallymark.live")
_balance = reader_of(Balance)


def create(stage: Stage, store: BalanceWriter) -> None:
    """Add the agent, and the check of Redis."""
    retry = Retry(log, "write balances to Redis", lambda: stage.revoking, RETRY_FIRST_S)

    async def live(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is None:
                continue
            found = [read(chunk, record, _balance) for record in chunk.records if record.value]
            balances = [balance for balance in found if balance is not None]
            try:
                await retry.in_thread(store.write, balances)
            except Unavailable:  # the partition is being revoked
                transaction.abandon()
                continue
            transaction.read(len(balances))
            transaction.commit()
            _observe(balances)

    stage.agent(INPUT)(live)
    stage.app.timer(LOOK_S, name="whole")(RebuildWatch(stage, store).look)


def _observe(balances: list[Balance]) -> None:
    now_ms = time.time_ns() // 1_000_000
    for balance in balances:
        if balance.received_at_ms:
            BALANCE_SECONDS.observe(max(0, now_ms - balance.received_at_ms) / 1000)


class RebuildWatch:
    """Rebuilds the balances that Redis has lost. A partition is complete once all of it was written to this Redis."""

    def __init__(self, stage: Stage, store: BalanceWriter) -> None:
        self._stage = stage
        self._store = store
        self._at_work = False

    async def look(self) -> None:
        """Check each partition that this worker owns, one round at a time."""
        if self._at_work or self._stage.revoking:
            return
        self._at_work = True
        try:
            for position in sorted(self._stage.partitions):
                await asyncio.to_thread(self._ensure, position)
        except Unavailable as error:
            log.warning("cannot rebuild balances in Redis, retrying in %.1f s: %s", LOOK_S, error)
        finally:
            self._at_work = False

    def _ensure(self, position: Position) -> None:
        if self._store.is_whole(position.partition):
            return
        cluster = self._stage.cluster
        with Reader(cluster.kafka, cluster.group) as reader:
            is_written = refill(reader, self._store, position)
        if is_written:
            REBUILDS.inc()
            log.info("rebuilt the balances of %s/%d in Redis", *position)
