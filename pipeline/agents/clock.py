"""Time as records: what is due without an event is published as a record on the stage's own input topic.

Owns: when a record is published to a partition, and again if no answer comes. Does not own: what is due (the agent).
So an agent reacts to records alone: a replay sees the same instants, and no timer runs beside a transaction.
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
ASK_AGAIN_S = 5.0  # a published record arrives long before that
NEVER_MS = 1 << 62
MOST_ITEMS = (
    1_000  # per record; the others go into the next record, so that no record exceeds its topic's limit
)

log = logging.getLogger("tallymark.clock")


def wall_ms() -> int:
    """The machine's clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


class Agenda:
    """The due times of the partitions that this worker owns. Thread-safe: the agent fills it, the clock empties it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_ms: dict[int, int] = {}
        self._asked_ms: dict[int, int] = {}
        self._items: dict[int, dict[bytes, None]] = {}

    def own(self, partitions: Iterable[int]) -> None:
        """Replace the owned partitions; each is due at once."""
        with self._lock:
            self._next_ms = dict.fromkeys(partitions, 0)
            self._asked_ms = {}
            self._items = {partition: {} for partition in self._next_ms}

    def due(self, partition: int, next_ms: int) -> None:
        """The partition has processed a clock record; it is due again at `next_ms`."""
        with self._lock:
            if partition in self._next_ms:
                self._next_ms[partition] = next_ms
                self._asked_ms.pop(partition, None)

    def add(self, partition: int, item: bytes) -> None:
        """Add an item for the next clock record of the partition, which becomes due."""
        with self._lock:
            if partition in self._next_ms:
                self._items[partition][item] = None

    def take(self, now_ms: int) -> dict[int, list[bytes]]:
        """The partitions that are due, with their items. A partition is then not due again for ASK_AGAIN_S."""
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
        """Return items that could not be published."""
        with self._lock:
            for partition, items in taken.items():
                if partition in self._items:
                    self._items[partition] |= dict.fromkeys(items)
                    self._asked_ms.pop(partition, None)


class Clock:
    """A thread that publishes the agenda's records.

    encode: (now_ms, items) -> a record's value. now_ms: the clock, in ms since 1970.
    """

    def __init__(
        self,
        writer: KafkaWriter,
        topic: str,
        agenda: Agenda,
        encode: Callable[[int, list[bytes]], bytes],
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._now_ms = now_ms
        self._writer = writer
        self._topic = topic
        self._agenda = agenda
        self._encode = encode
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Run until the process ends; the next owner publishes what is due then."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK_S)
            self.tick(self._now_ms())

    def tick(self, now_ms: int) -> None:
        """Publish the records that are due; those that Kafka does not accept stay due."""
        taken = self._agenda.take(now_ms)
        try:
            self._writer.write(
                WrittenRecord(self._topic, self._encode(now_ms, items), KEY, partition)
                for partition, items in taken.items()
            )
        except Unavailable as error:
            log.warning("cannot write clock records, retrying in %.1f s: %s", TICK_S, error)
            self._agenda.put_back(taken)
