"""Publishes records outside transactions, for the API, clock, heartbeat, webhook attempts and commands.

Owns: the idempotent producer, the thread that handles its acknowledgements, waiting for them from threads and from an
event loop, and the error of a record that Kafka does not accept. Does not own: the contents of records; the
transactions of the stages (engine.producer).

A record whose acknowledgement did not arrive in time may still be in the topic: a caller that publishes it again must
tolerate a duplicate.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import NotAnswering, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

TIMEOUT_S = 10.0
GRACE_S = 1.0  # librdkafka drops a record a little later than its timeout
NOTED_ERRORS = 8
_POLL_S = 0.2

RecordHeaderPairs = Sequence[tuple[str, str | bytes | None]]
# Called with the error (None: acknowledged) and librdkafka's message.
DeliveryReport = Callable[[KafkaError | None, object], None]
Waiter = asyncio.Future[None]


class WrittenRecord(NamedTuple):
    """A record to write. value: None for a tombstone. partition: -1 lets the partitioner choose by the key."""

    topic: str
    value: bytes | None
    key: str | bytes | None = None
    partition: int = -1
    headers: RecordHeaderPairs = ()


class Deliveries:
    """The outcome of records that were sent: acknowledged, or failed by the error's name. Thread-safe."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.failures: Counter[str] = Counter()
        self.first_error: KafkaError | None = None
        self._changed = threading.Condition()

    def report(self, error: KafkaError | None, _: object) -> None:
        """The callback for `KafkaWriter.send`."""
        with self._changed:
            if error is None:
                self.acknowledged += 1
            else:
                self.failures[error.name()] += 1
                self.first_error = self.first_error or error
            self._changed.notify_all()

    def wait(self, records: int, timeout_s: float) -> bool:
        """Whether all `records` are acknowledged, or one has failed, within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.first_error is not None or self.acknowledged >= records, timeout_s
            )


class Outcomes:
    """Outcomes on their way to the coroutines of one event loop that wait for them: one wake-up for many.

    Several threads report: that of a failed producer beside that of its successor, and the one that closes the writer.

    Args:
        loop: Of the coroutines.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._reported: list[tuple[Waiter, KafkaError | None]] = []

    def report(self, waiter: Waiter, error: KafkaError | None) -> None:
        """End the wait of `waiter`, with an error unless that is None."""
        with self._lock:
            self._reported.append((waiter, error))
            is_first = len(self._reported) == 1
        if is_first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            reported, self._reported = self._reported, []
        for waiter, error in reported:
            if waiter.done():  # its request was cancelled
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(KafkaException(error))


class KafkaWriter:
    """A plain producer for one purpose. `write` and `send` are for threads, `append` is for one event loop.

    The producer is opened by the first record, and another one by the first record after a fatal error.

    Args:
        settings: For the addresses of the brokers.
        what: The records in the plural, for errors: "Too many events wait for Kafka ...".
        timeout_s: How long Kafka may take to acknowledge a record, including librdkafka's retries.
        options: Additional properties of librdkafka.
    """

    def __init__(
        self,
        settings: Settings,
        what: str,
        timeout_s: float = TIMEOUT_S,
        options: Mapping[str, kafka.ConfigValue] | None = None,
    ) -> None:
        self._settings = settings
        self._what = what
        self._timeout_s = timeout_s
        self._options = dict(options or {})
        self._open: _OpenProducer | None = None  # replaced after a fatal error
        self._lock = threading.Lock()
        self._outcomes: Outcomes | None = None

    def write(self, records: Iterable[WrittenRecord]) -> None:
        """Publish all records and return when Kafka has acknowledged them. Waits while the queue is full.

        Raises Unavailable.
        """
        deliveries, sent = Deliveries(), 0
        for record in records:
            self.send(record, deliveries.report, self._timeout_s)
            sent += 1
        if not deliveries.wait(sent, self._timeout_s + GRACE_S):
            raise NotAnswering(
                f"Kafka at {self._settings.kafka} did not acknowledge the {self._what} within {self._timeout_s:g} s."
            )
        if deliveries.first_error is not None:
            raise self.failure(deliveries.first_error)

    async def append(self, record: WrittenRecord) -> None:
        """Return when Kafka has acknowledged the record. Raises Unavailable, at once if the queue is full."""
        loop = asyncio.get_running_loop()
        outcomes = self._outcomes = self._outcomes or Outcomes(loop)
        waiter: Waiter = loop.create_future()
        refused = self._produce(record, lambda error, _: outcomes.report(waiter, error), 0.0)
        if refused is not None:
            raise self.failure(refused)
        try:
            await waiter
        except KafkaException as error:
            raise self.failure(error.args[0]) from error

    def send(self, record: WrittenRecord, report: DeliveryReport | None = None, room_s: float = 0.0) -> None:
        """Queue the record and return.

        Args:
            record: What to write.
            report: Called with the outcome, from another thread; from this one for a record that is refused at once,
                for instance because it is too large. None: the outcome is ignored.
            room_s: How long to wait for room in the queue.

        Raises:
            Unavailable: The queue is full.
        """
        refused = self._produce(record, report, room_s)
        if refused is not None and report is not None:
            report(refused, None)

    def _produce(
        self, record: WrittenRecord, report: DeliveryReport | None, room_s: float
    ) -> KafkaError | None:
        """Queue the record; returns the error of one that is refused at once. Raises Unavailable: the queue is full."""
        opened, until_s = self._opened(), time.monotonic() + room_s
        topic, value, key, partition, headers = record
        options: dict[str, Any] = {"headers": headers} if headers else {}
        while True:
            try:
                opened.producer.produce(topic, value, key, partition, on_delivery=report, **options)
                return None
            except BufferError:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    full = f"Too many {self._what} wait for Kafka at {self._settings.kafka}."
                    raise Unavailable(full) from None
                opened.wait_for_room(left_s)
            except KafkaException as error:
                refused: KafkaError = error.args[0]
                opened.note(refused)
                return refused

    def __enter__(self) -> KafkaWriter:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self.close(None if error is None else 0)

    def close(self, wait_s: float | None = None) -> None:
        """Wait for the outcome of sent records, at most `wait_s` (None: the writer's timeout), and stop."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened.close(self._timeout_s + GRACE_S if wait_s is None else wait_s)

    def _opened(self) -> _OpenProducer:
        opened = self._open
        if opened is not None and not opened.has_failed:
            return opened
        with self._lock:
            if self._open is not None and self._open.has_failed:
                self._open.close(0)
                self._open = None
            if self._open is None:
                timeout_ms = int(self._timeout_s * 1000)
                own: dict[str, Any] = {
                    "linger.ms": 0,
                    "delivery.timeout.ms": timeout_ms,
                    # A missing topic is reported before the record times out, so that the error shows the cause.
                    "topic.metadata.propagation.max.ms": timeout_ms // 2,
                    "log_level": 0,
                }
                config = kafka.producer_config(self._settings) | own | self._options
                self._open = _OpenProducer(config)
            return self._open

    def failure(self, error: KafkaError) -> Unavailable:
        """The error of a record that was not acknowledged, with Kafka's own message."""
        opened = self._open
        if opened is not None:
            opened.note(error)
            if error.name() in (
                "_MSG_TIMED_OUT",
                "_TIMED_OUT",
            ):  # the cause is in the errors of the connections
                error = kafka.most_telling(opened.errors_since(time.monotonic() - self._timeout_s), error)
        return kafka.unavailable(self._settings, KafkaException(error))


class _OpenProducer:
    """A librdkafka producer and the thread that handles its acknowledgements."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.has_failed = False
        self._errors: deque[tuple[float, KafkaError]] = deque(maxlen=NOTED_ERRORS)
        self.producer = Producer({**config, "error_cb": self._take_error})
        self._room = threading.Event()
        self._closing = threading.Event()
        threading.Thread(target=self._poll, name="kafka-writer", daemon=True).start()

    def wait_for_room(self, timeout_s: float) -> None:
        """Return when a record has left the queue, or after _POLL_S."""
        self._room.clear()
        self._room.wait(min(timeout_s, _POLL_S))

    def errors_since(self, since_s: float) -> list[KafkaError]:
        """The errors of connections since an instant of the monotonic clock, the oldest first."""
        return [error for at_s, error in list(self._errors) if at_s >= since_s]

    def note(self, error: KafkaError) -> None:
        """Remember a fatal error: the producer cannot be used any more."""
        self.has_failed = self.has_failed or error.fatal()

    def close(self, wait_s: float) -> None:
        """End the thread once every record has its outcome; returns then, or after `wait_s`."""
        if wait_s:
            self.producer.flush(wait_s)
        self._closing.set()

    def _take_error(self, error: KafkaError) -> None:
        self._errors.append((time.monotonic(), error))
        self.note(error)

    def _poll(self) -> None:
        while not self._closing.is_set() or len(self.producer):
            if self.producer.poll(_POLL_S):
                self._room.set()
