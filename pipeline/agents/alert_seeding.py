"""Historical usage for a new entitlement or mapping: loaded from ClickHouse, published as windows to a stage's input.

Owns: when stored windows are complete enough to be read, and publishing them. Does not own: who needs them
(agents.alert, agents.stripe_sync), their effect (core.quota.balance, core.billing.stripe_table).

A barrier is published to each partition of `usage`. Attribute processes it only once it has loaded the definitions that
the barrier requires, so later usage arrives by itself; when ClickHouse has the barrier of each partition,
it has all earlier usage. Windows are absolute and carry a revision, so one that arrives both ways is counted once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence, Set
from typing import NamedTuple

import msgspec

from pipeline.core.customers.attribution import Holders, attribute
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.time_window import MINUTE_S
from pipeline.engine.packing import arrays
from pipeline.engine.retry import Retry
from pipeline.errors import Unavailable
from pipeline.records import CustomerWindow, Window
from pipeline.stores.clickhouse.backfill import landed
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.windows import stored_windows
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

LOOK_S = 0.2
AHEAD_S = 2 * 86_400  # events may be in the future
SUBJECTS_AT_ONCE = 1_000  # named in one query

log = logging.getLogger("tallymark.seeding")
_encode = msgspec.json.Encoder().encode


class Job(NamedTuple):
    """Historical usage to publish: that of some subjects for a meter, from `since_s` onwards.

    customer: whose usage it has to be; empty: every customer's in `partition`. revision: of the definitions that
    attribute must have loaded. done_record: an item of the next clock record.
    """

    namespace: str
    customer: str
    meter_id: int
    subjects: tuple[str, ...]
    since_s: int
    revision: int
    done_record: bytes
    partition: int = -1  # of the target; where there is no customer


class SeedQueries(NamedTuple):
    """What is asked of ClickHouse: whether a barrier is stored, and the windows of subjects."""

    landed: Callable[[ClickHouse, bytes], int] = landed
    windows: Callable[..., Iterable[list[Window]]] = stored_windows


SEED_QUERIES = SeedQueries()


class Seeding:
    """A thread that runs jobs. A job that is lost with the process is requested again by the agent."""

    def __init__(
        self,
        writer: KafkaWriter,
        store: ClickHouse,
        holders: Holders,
        partitions: int,
        done: Callable[[int, bytes], None],
        topic: str = "customer-usage",
        mapped: Callable[[], Set[int]] = frozenset,
        queries: SeedQueries = SEED_QUERIES,
        look_s: float = LOOK_S,
        *,
        usage_partitions: int,
    ) -> None:
        """A thread without jobs; it begins with `start`.

        Args:
            writer: of the windows.
            store: where they are.
            holders: the customers.
            partitions: of `topic`.
            done: called with a job's partition and `done_record`.
            topic: the target.
            mapped: the numbers of meters that are wanted although nothing watches them.
            queries: of `store`.
            look_s: between two checks for jobs, and of a barrier.
            usage_partitions: of `usage`.
        """
        self._queries = queries
        self._look_s = look_s
        self._writer = writer
        self._retry = Retry(log, "load stored usage")
        self._store = store
        self._holders = holders
        self._partitions = partitions
        self._usage_partitions = usage_partitions
        self._done = done
        self._topic = topic
        self._mapped = mapped
        self._lock = threading.Lock()
        self._failed: Callable[[BaseException], None] = lambda _: None
        # Where its done record goes, so that a job that is requested twice runs once: two partitions may each need one.
        self._new: dict[tuple[int, bytes], Job] = {}
        self._thread = threading.Thread(target=self._run, name="seeding", daemon=True)

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """failed: called with any error other than Unavailable; the thread has ended then."""
        self._failed = failed
        self._thread.start()

    def add(self, job: Job) -> None:
        """Queue a job."""
        with self._lock:
            self._new[job.partition, job.done_record] = job

    def _run(self) -> None:
        try:
            while True:
                self._retry.blocking(self.look)
                time.sleep(self._look_s)
        except BaseException as error:
            self._failed(error)

    def look(self) -> None:
        """Run the queued jobs. Raises Unavailable; all of them are queued again then."""
        with self._lock:
            jobs, self._new = list(self._new.values()), {}
        if not jobs:
            return
        try:
            self._do(jobs)
        except Unavailable:
            with self._lock:
                self._new = {(job.partition, job.done_record): job for job in jobs} | self._new
            raise

    def _do(self, jobs: list[Job]) -> None:
        mark = f"seed/{max(job.revision for job in jobs)}/{uuid.uuid4().hex}".encode()
        self._writer.write(
            WrittenRecord("usage", b"[]", mark, partition) for partition in range(self._usage_partitions)
        )
        while self._queries.landed(self._store, mark) < self._usage_partitions:
            time.sleep(self._look_s)
        for job in jobs:
            self._seed(job)

    def _seed(self, job: Job) -> None:
        target = self._partition(job.namespace, job.customer) if job.customer else job.partition
        windows = 0
        for start in range(0, len(job.subjects), SUBJECTS_AT_ONCE):
            windows += self._publish(job, job.subjects[start : start + SUBJECTS_AT_ONCE], target)
        self._done(target, job.done_record)
        log.info("loaded %d historical windows for %s", windows, job.customer or f"partition {target}")

    def _publish(self, job: Job, subjects: Sequence[str], target: int) -> int:
        until_s = int(time.time()) // MINUTE_S * MINUTE_S + AHEAD_S
        since_s = job.since_s // MINUTE_S * MINUTE_S
        pages = self._queries.windows(
            self._store, job.namespace, job.meter_id, subjects, max(0, since_s), until_s
        )
        windows = 0
        for page in pages:
            mine = [
                one
                for one in attribute(page, self._holders, self._mapped())
                if (one.customer == job.customer if job.customer else self._is_in(one, target))
            ]
            windows += len(mine)
            self._writer.write(
                WrittenRecord(self._topic, packed, partition=target) for packed in _packed(mine)
            )
        return windows

    def _is_in(self, one: CustomerWindow, target: int) -> bool:
        return self._partition(one.window.namespace, one.customer) == target

    def _partition(self, namespace: str, customer: str) -> int:
        return customer_hash(namespace, customer) % self._partitions


def _packed(windows: list[CustomerWindow]) -> Iterable[bytes]:
    return arrays([_encode(window) for window in windows])
