"""Time as records: what is due with no event is asked for on the stage's own input topic.

Owns: when a partition is asked, and that it is asked again if no answer comes. Does not own: what is due (the agent).
So an agent acts on records alone: a replay sees the same instants, and no timer runs beside a transaction.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from pipeline.errors import Unavailable
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

KEY = b"clock"
TICK_S = 0.2
ASK_AGAIN_S = 5.0  # a record that was asked for is there long before
NEVER_MS = 1 << 62
MOST_ITEMS = 1_000  # said in one record; the rest waits for the next, so that no record outgrows its topic

log = logging.getLogger("tallymark.clock")


class Agenda:
    """What is due in each partition that this worker owns. Thread-safe: the agent fills it, the clock empties it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_ms: dict[int, int] = {}
        self._asked_ms: dict[int, int] = {}
        self._items: dict[int, dict[bytes, None]] = {}

    def own(self, partitions: Iterable[int]) -> None:
        """From now on exactly these partitions are this worker's; each is asked at once."""
        with self._lock:
            self._next_ms = dict.fromkeys(partitions, 0)
            self._asked_ms = {}
            self._items = {partition: {} for partition in self._next_ms}

    def due(self, partition: int, next_ms: int) -> None:
        """The partition has been asked; it is due again at `next_ms`."""
        with self._lock:
            if partition in self._next_ms:
                self._next_ms[partition] = next_ms
                self._asked_ms.pop(partition, None)

    def add(self, partition: int, item: bytes) -> None:
        """Something to say in the next clock record of the partition, which becomes due."""
        with self._lock:
            if partition in self._next_ms:
                self._items[partition][item] = None

    def take(self, now_ms: int) -> dict[int, list[bytes]]:
        """Partitions to ask now, each with what is to be said there. Asked for, they are quiet for ASK_AGAIN_S."""
        with self._lock:
            found = {}
            for partition, next_ms in self._next_ms.items():
                waiting = now_ms - self._asked_ms.get(partition, -NEVER_MS) < ASK_AGAIN_S * 1000
                if self._items[partition] or (next_ms <= now_ms and not waiting):
                    items = list(self._items[partition])
                    found[partition] = items[:MOST_ITEMS]
                    self._items[partition] = dict.fromkeys(items[MOST_ITEMS:])
                    self._asked_ms[partition] = now_ms
            return found

    def put_back(self, taken: Mapping[int, Iterable[bytes]]) -> None:
        """What was taken could not be said."""
        with self._lock:
            for partition, items in taken.items():
                if partition in self._items:
                    self._items[partition] |= dict.fromkeys(items)
                    self._asked_ms.pop(partition, None)


class Clock:
    """A thread that writes the agenda's records. encode: (now_ms, items) -> a record's value."""

    def __init__(
        self, writer: KafkaWriter, topic: str, agenda: Agenda, encode: Callable[[int, list[bytes]], bytes]
    ) -> None:
        self._writer = writer
        self._topic = topic
        self._agenda = agenda
        self._encode = encode
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Runs until the process ends: what is due then, the next owner asks for."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK_S)
            self.tick(time.time_ns() // 1_000_000)

    def tick(self, now_ms: int) -> None:
        """Writes the records that are due; what Kafka does not take is due again."""
        taken = self._agenda.take(now_ms)
        try:
            self._writer.write(
                WrittenRecord(self._topic, self._encode(now_ms, items), KEY, partition)
                for partition, items in taken.items()
            )
        except Unavailable as error:
            log.warning("cannot write clock records, retrying in %.1f s: %s", TICK_S, error)
            self._agenda.put_back(taken)
