"""A worker's sign of life on `workers`: that it runs, what it owns and which definitions it knows.

Owns: the beat and the farewell. Does not own: who reads it (status, meters apply).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable

import msgspec
from confluent_kafka import KafkaError

from pipeline.errors import Unavailable
from pipeline.records import Worker
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC = "workers"
BEAT_S = 1.0
FAREWELL_S = 2.0

log = logging.getLogger("tallymark.worker")


class Heartbeat:
    """Beats in a thread of its own, at once when `now()` is called, and says farewell on `close()`.

    `report` fills in what changes: partitions, events_in and control_revision.
    """

    def __init__(self, writer: KafkaWriter, worker: Worker, report: Callable[[Worker], Worker]) -> None:
        self._worker = worker
        self._report = report
        self._writer = writer
        self._wake = threading.Event()
        self._closing = self._failing = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """Beat at once: something changed that somebody waits for."""
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(FAREWELL_S)
        self._publish(None)
        self._writer.close(FAREWELL_S)

    def _run(self) -> None:
        while not self._closing:
            worker = self._report(msgspec.structs.replace(self._worker, at_ms=time.time_ns() // 1_000_000))
            self._publish(msgspec.json.encode(worker))
            self._wake.wait(BEAT_S)
            self._wake.clear()

    def _publish(self, value: bytes | None) -> None:
        # While the broker is away older heartbeats wait in the queue: another one would add nothing.
        with contextlib.suppress(Unavailable):
            self._writer.send(WrittenRecord(TOPIC, value, self._worker.id.encode(), 0), self._note)

    def _note(self, error: KafkaError | None, _: object) -> None:
        """One line in the log for a row of failures: the worker works without heartbeats."""
        if error is not None and not self._failing:
            log.warning("cannot publish a heartbeat: %s", error.str())
        self._failing = error is not None


def describe(stage: str, worker_id: str, metrics_url: str) -> Worker:
    """This process as a worker that has done nothing yet."""
    now_ms = time.time_ns() // 1_000_000
    return Worker(worker_id, stage, socket.gethostname(), os.getpid(), now_ms, now_ms, 0, [], 0, metrics_url)
