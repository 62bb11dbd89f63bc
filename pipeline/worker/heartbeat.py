"""A worker's heartbeat on `workers`: that it runs, which partitions it owns, which definitions it has loaded.

Owns: the heartbeat, and its tombstone when the worker stops. Does not own: the readers (status, meters apply).
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
STOP_S = 2.0

log = logging.getLogger("tallymark.worker")


class Heartbeat:
    """Publishes a heartbeat from its own thread, every `beat_s` and on `now()`, and a tombstone on `close()`.

    `report` fills in the fields that change: partitions, events_in and control_revision.
    """

    def __init__(
        self,
        writer: KafkaWriter,
        worker: Worker,
        report: Callable[[Worker], Worker],
        beat_s: float = BEAT_S,
    ) -> None:
        self._worker = worker
        self._report = report
        self._writer = writer
        self._beat_s = beat_s
        self._wake = threading.Event()
        self._closing = self._failing = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """Publish at once, after a change that another process waits for."""
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(STOP_S)
        self._publish(None)
        self._writer.close(STOP_S)

    def _run(self) -> None:
        while not self._closing:
            worker = self._report(msgspec.structs.replace(self._worker, at_ms=time.time_ns() // 1_000_000))
            self._publish(msgspec.json.encode(worker))
            self._wake.wait(self._beat_s)
            self._wake.clear()

    def _publish(self, value: bytes | None) -> None:
        # While Kafka is unavailable, older heartbeats are queued: another one would add nothing.
        with contextlib.suppress(Unavailable):
            self._writer.send(WrittenRecord(TOPIC, value, self._worker.id.encode(), 0), self._note)

    def _note(self, error: KafkaError | None, _: object) -> None:
        """Log the first of several failures; the worker can work without heartbeats."""
        if error is not None and not self._failing:
            log.warning("cannot publish a heartbeat: %s", error.str())
        self._failing = error is not None


def describe(stage: str, worker_id: str, metrics_url: str) -> Worker:
    """The heartbeat of this process before it has processed anything."""
    now_ms = time.time_ns() // 1_000_000
    return Worker(worker_id, stage, socket.gethostname(), os.getpid(), now_ms, now_ms, 0, [], 0, metrics_url)
