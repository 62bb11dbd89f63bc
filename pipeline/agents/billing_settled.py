"""Reports in `billing-work` that the usage which arrived before an instant is complete there.

Owns: the order in which the stages are waited for, and publishing the record. Does not own: which partition waits and
for what (core.bills), how far a stage has read (stores.kafka.stage_positions).

Each stage has to read its input up to the end that it had when the stage before had read its own; then the windows of
every event lie before the record. So lag of a stage delays a bill, and never leaves usage out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from pipeline.engine.retry import Retry
from pipeline.errors import Unavailable
from pipeline.records import BillingWork
from pipeline.stores.kafka.writer import WrittenRecord

WORK, KEY = "billing-work", b"settled"
CHAIN = ("ingest", "dedupe", "aggregate", "attribute")  # what an event passes on its way to `billing-work`
LOOK_S = 0.2

log = logging.getLogger("tallymark.settled")
_encode = msgspec.json.Encoder().encode
Ends = Mapping[tuple[str, int], int]


class Positions(Protocol):
    """What is asked of stores.kafka.stage_positions. Both raise Unavailable."""

    def ends(self, stage: str) -> Ends:
        """The end offset of every partition that the stage reads."""
        ...

    def unread(self, stage: str, ends: Ends) -> set[tuple[str, int]]:
        """The partitions that the stage has not read up to these ends."""
        ...


class RecordWriter(Protocol):
    """What is asked of a KafkaWriter."""

    def write(self, records: Iterable[WrittenRecord]) -> None:
        """Return when all records are acknowledged. Raises Unavailable."""
        ...


class SettledWatcher:
    """A thread that publishes when usage is complete. Thread-safe."""

    def __init__(
        self,
        writer: RecordWriter,
        positions: Positions,
        loaded: Callable[[int], bool] = lambda partition: True,
        look_s: float = LOOK_S,
    ) -> None:
        """A thread that waits for requests; it begins with `start`.

        Args:
            writer: of the records.
            positions: of the stages.
            loaded: whether the historical usage that a partition needs is in `billing-work`.
            look_s: between two checks.
        """
        self._writer = writer
        self._positions = positions
        self._loaded = loaded
        self._look_s = look_s
        self._retry = Retry(log, "find out whether usage is complete")
        self._lock = threading.Lock()
        self._new: dict[int, int] = {}
        self._requested: dict[int, int] = {}
        self._failed: Callable[[BaseException], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="settled", daemon=True)

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """failed: called with any error other than Unavailable; the thread has ended then."""
        self._failed = failed
        self._thread.start()

    def request(self, partition: int, needed_ms: int, now_ms: int) -> None:
        """Publish a record to a partition once the usage that arrived before an instant is complete.

        Args:
            partition: of `billing-work`.
            needed_ms: the instant that it waits for. Nothing happens if an earlier request covers it.
            now_ms: the time that its committed records have reached, not before `needed_ms`; the record covers it.
        """
        with self._lock:
            if needed_ms > self._requested.get(partition, -1):
                self._requested[partition] = self._new[partition] = now_ms

    def forget(self) -> None:
        """The owned partitions have changed: they request again what they wait for."""
        with self._lock:
            self._new, self._requested = {}, {}

    def _run(self) -> None:
        try:
            while True:
                self._retry.blocking(self.look)
                time.sleep(self._look_s)
        except BaseException as error:
            self._failed(error)

    def look(self) -> None:
        """Serve the requests. Raises Unavailable; they are served again then."""
        with self._lock:
            requests, self._new = self._new, {}
        if not requests:
            return
        try:
            self._wait_for_stages()
            waiting = {partition for partition in requests if not self._loaded(partition)}
            self._writer.write(
                WrittenRecord(WORK, _encode(BillingWork("settled", settled_ms=at_ms)), KEY, partition)
                for partition, at_ms in requests.items()
                if partition not in waiting
            )
        except Unavailable:
            self._put_back(requests)
            raise
        self._put_back({partition: requests[partition] for partition in waiting})

    def _put_back(self, requests: Mapping[int, int]) -> None:
        with self._lock:
            for partition, at_ms in requests.items():
                if partition in self._requested:
                    self._new[partition] = max(at_ms, self._new.get(partition, -1))

    def _wait_for_stages(self) -> None:
        for stage in CHAIN:
            ends = self._positions.ends(stage)
            while self._positions.unread(stage, ends):
                time.sleep(self._look_s)
