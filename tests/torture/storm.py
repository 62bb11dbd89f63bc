"""The lines of a run and who sends them: the made stream, with a third of it sent up to five times.

Owns: repeats near and far, several producers, sending no more than is allowed, and which places the broker
acknowledged. Does not own: what a line says (flow.stream, poison).
"""

from __future__ import annotations

import heapq
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.settings import Settings
from tests.flow.sender import HEADERS
from tests.flow.stream import Sent, stream
from tests.torture.poison import KINDS, STRUCTURED, Poison

REPEATED = 0.30
MOST_COPIES = 4  # beside the first
NEAR, FAR = 2_000, 200_000  # lines between a line and its copies
PRODUCERS = 3
FLUSH_S = 180.0


def storm(lines: int, seed: int, now_ns: int) -> Iterator[Sent]:
    """Exactly `lines` records: the stream's, and copies of 30 % of them, byte for byte, near or far behind."""
    rng = Random(seed)
    copies: list[tuple[int, int, Sent]] = []
    sent = 0
    for number, record in enumerate(stream(lines, seed, now_ns)):
        if rng.random() < REPEATED:
            for copy in range(rng.randint(1, MOST_COPIES)):
                far = rng.random() < 0.3
                due = sent + int(rng.random() * min(FAR if far else NEAR, lines))
                heapq.heappush(copies, (due, number * 8 + copy, record))
        yield record
        sent += 1
        while copies and copies[0][0] <= sent < lines:
            yield heapq.heappop(copies)[2]
            sent += 1
        if sent == lines:
            return


class Storm:
    """Sends in a thread, through several producers, no more lines than were allowed. Use as a context manager."""

    def __init__(self, servers: str, records: Iterable[Sent], seed: int) -> None:
        self._records = records
        self._rng = Random(seed)
        self._producers = [Producer(_config(servers)) for _ in range(PRODUCERS)]
        self._allowed = 0
        self._last: int | None = None  # sending ends with this line
        self._changed = threading.Condition()
        self._poisons: list[Poison] = []
        self._failed: list[KafkaError] = []
        self._ended: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="storm", daemon=True)
        #: Partition -> offsets that the broker acknowledged; -1 where it did not say which.
        self.acknowledged: dict[int, list[int]] = defaultdict(list)
        self.sent = 0

    def __enter__(self) -> Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.allow(-1)
        self._thread.join(FLUSH_S)

    def allow(self, lines: int) -> None:
        """So many lines more may be sent; -1 ends the sending."""
        with self._changed:
            self._allowed = -1 if lines < 0 else self._allowed + lines
            self._changed.notify_all()

    def poison(self, kind: str) -> None:
        """Sends one such record next."""
        self._send_next(KINDS[kind]())

    def send(self, line: bytes) -> None:
        """Sends one line more, next."""
        self._send_next((line, STRUCTURED))

    def _send_next(self, record: Poison) -> None:
        with self._changed:
            self._poisons.append(record)
            self._changed.notify_all()

    def finish(self, lines: int) -> int:
        """Sends on until there are at least `lines`; the number of all records once the broker has each.

        Raises KafkaException.
        """
        with self._changed:
            self._last = lines
        self.allow(lines)
        self._thread.join()
        self.check()
        return self.sent

    def check(self) -> None:
        """Raises what has ended the sending."""
        if self._ended is not None:
            raise self._ended

    def _run(self) -> None:
        try:
            for record in self._records:
                if not self._may_go():
                    break
                self._produce(record.line, record.key, HEADERS)
            self._serve()
            left = sum(producer.flush(FLUSH_S) for producer in self._producers)
            if self._failed or left:
                raise KafkaException(
                    self._failed[0] if self._failed else KafkaError(KafkaError._MSG_TIMED_OUT)
                )
        except BaseException as error:
            self._ended = error

    def _serve(self) -> None:
        """There are no more lines of the stream, or none is allowed: what is wanted beside them still goes."""
        while True:
            with self._changed:
                poisons, self._poisons = self._poisons, []
                over = self._last is not None or self._allowed < 0
            for value, headers in poisons:
                self._produce(value, b"poison", headers)
            if over and not poisons:
                return
            for producer in self._producers:
                producer.poll(0)
            with self._changed:
                self._changed.wait(0.05)

    def _may_go(self) -> bool:
        if self.sent >= self._allowed or self._poisons:
            with self._changed:
                while self.sent >= self._allowed >= 0 and not self._poisons and self._last is None:
                    self._changed.wait(0.1)
                    for producer in self._producers:
                        producer.poll(0)
                poisons, self._poisons = self._poisons, []
            for value, headers in poisons:
                self._produce(value, b"poison", headers)
            if self.sent >= self._allowed >= 0 and self._last is None:
                return self._may_go()
        return self._allowed >= 0 and (self._last is None or self.sent < self._last)

    def _produce(
        self, value: bytes | None, key: bytes | None, headers: Iterable[tuple[str, bytes | None]]
    ) -> None:
        producer = self._rng.choice(self._producers)
        listed: list[tuple[str, str | bytes | None]] = list(headers)
        self.sent += 1
        while True:
            try:
                producer.produce("events", value, key, on_delivery=self._delivered, headers=listed)
                break
            except BufferError:
                producer.poll(0.1)
        if self.sent % 500 == 0:
            for one in self._producers:
                one.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error)
            return
        offset = message.offset()
        # A retried batch that the broker has already is acknowledged without its place.
        self.acknowledged[message.partition() or 0].append(-1 if offset is None or offset < 0 else offset)


def abort_transactions(settings: Settings, topic: str) -> None:
    """Writes a record into each partition of the topic that never becomes visible, and its abort marker."""
    producer = Producer(
        {"bootstrap.servers": settings.kafka, "transactional.id": f"storm-{uuid.uuid4().hex}"}
    )
    producer.init_transactions(FLUSH_S)
    producer.begin_transaction()
    for partition in range(settings.partitions):
        producer.produce(topic, b"never to be seen", partition=partition)
    producer.flush(FLUSH_S)
    producer.abort_transaction(FLUSH_S)


def _config(servers: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": servers,
        "enable.idempotence": True,  # a retry of the client is neither a repeat nor a change of order
        "partitioner": "murmur2_random",
        "compression.type": "zstd",  # so that 100 MB of zeros pass the broker's limit
        "message.max.bytes": 200_000_000,
        "queue.buffering.max.kbytes": 400_000,
        "linger.ms": 10,
        "log_level": 0,
        "reconnect.backoff.max.ms": 1_000,
    }
