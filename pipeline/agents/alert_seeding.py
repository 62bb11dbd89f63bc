"""Historical usage for a new entitlement: loaded from ClickHouse, published as windows to the alert stage's input.

Owns: when stored windows are complete enough to be read, and publishing them. Does not own: which account needs them
(agents.alert), their effect on a balance (core.quota.balance).

A barrier is published to each partition of `usage`. Attribute processes it only once it has loaded the definitions that
the barrier requires, so later usage reaches the account by itself; when ClickHouse has the barrier of each partition,
it has all earlier usage. Windows are absolute and carry a revision, so one that arrives both ways is counted once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from pipeline.core.customers.attribution import Holders, attribute
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.time_window import MINUTE_S
from pipeline.engine.packing import arrays
from pipeline.engine.retry import Retry
from pipeline.errors import Unavailable
from pipeline.records import CustomerWindow
from pipeline.stores.clickhouse.backfill import landed
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.windows import stored_windows
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

LOOK_S = 0.2
AHEAD_S = 2 * 86_400  # events may be in the future

log = logging.getLogger("tallymark.seeding")
_encode = msgspec.json.Encoder().encode


class Job(NamedTuple):
    """Historical usage to publish: that of a customer's subjects for a meter, from `since_s` onwards.

    revision: of the definitions that attribute must have loaded. done_record: an item of the next clock record.
    """

    namespace: str
    customer: str
    meter_id: int
    subjects: tuple[str, ...]
    since_s: int
    revision: int
    done_record: bytes


class Seeding:
    """A thread that runs jobs. A job that is lost with the process is requested again by the agent."""

    def __init__(
        self,
        writer: KafkaWriter,
        store: ClickHouse,
        holders: Holders,
        partitions: int,
        done: Callable[[int, bytes], None],
    ) -> None:
        """partitions: of `usage` and of `customer-usage`. done: called with a job's partition and `done_record`."""
        self._writer = writer
        self._retry = Retry(log, "load stored usage")
        self._store = store
        self._holders = holders
        self._partitions = partitions
        self._done = done
        self._lock = threading.Lock()
        self._failed: Callable[[BaseException], None] = lambda _: None
        self._new: dict[bytes, Job] = {}  # by `done_record`, so that a job that is requested twice runs once
        self._thread = threading.Thread(target=self._run, name="seeding", daemon=True)

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """failed: called with any error other than Unavailable; the thread has ended then."""
        self._failed = failed
        self._thread.start()

    def add(self, job: Job) -> None:
        """Queue a job."""
        with self._lock:
            self._new[job.done_record] = job

    def _run(self) -> None:
        try:
            while True:
                self._retry.blocking(self.look)
                time.sleep(LOOK_S)
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
                self._new = {job.done_record: job for job in jobs} | self._new
            raise

    def _do(self, jobs: list[Job]) -> None:
        mark = f"seed/{max(job.revision for job in jobs)}/{uuid.uuid4().hex}".encode()
        self._writer.write(
            WrittenRecord("usage", b"[]", mark, partition) for partition in range(self._partitions)
        )
        while landed(self._store, mark) < self._partitions:
            time.sleep(LOOK_S)
        for job in jobs:
            self._seed(job)

    def _seed(self, job: Job) -> None:
        target = customer_hash(job.namespace, job.customer) % self._partitions
        until_s = int(time.time()) // MINUTE_S * MINUTE_S + AHEAD_S
        since_s = job.since_s // MINUTE_S * MINUTE_S
        pages = stored_windows(
            self._store, job.namespace, job.meter_id, job.subjects, max(0, since_s), until_s
        )
        windows = 0
        for page in pages:
            mine = [one for one in attribute(page, self._holders) if one.customer == job.customer]
            windows += len(mine)
            self._writer.write(
                WrittenRecord("customer-usage", packed, partition=target) for packed in _packed(mine)
            )
        self._done(target, job.done_record)
        log.info("loaded %d historical windows for customer %s", windows, job.customer)


def _packed(windows: list[CustomerWindow]) -> Iterable[bytes]:
    return arrays([_encode(window) for window in windows])
