"""Records that the API writes and waits for: nothing is reported as done before the broker has it.

Owns: the producer, which many threads use at once, and waiting for the broker's acknowledgements. Does not own: what
the records mean (commands), events (event_writer).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import NotAnswering, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

DELIVERY_TIMEOUT_MS = 10_000
WAIT_S = DELIVERY_TIMEOUT_MS / 1000 + 5
_POLL_S = 0.2

WrittenRecord = tuple[
    str, bytes, str | None, int
]  # topic, value, key, partition; -1: as the partitioner says


class RecordWriter:
    """what: the name of a record, for the sentence about one that the broker did not take. `close()` ends it."""

    def __init__(self, settings: Settings, what: str) -> None:
        self._settings = settings
        self._what = what
        self._polled: _Polled | None = None
        self._lock = threading.Lock()

    def write(self, records: Sequence[WrittenRecord]) -> None:
        """Returns when the broker has all of them. Raises Unavailable."""
        polled, delivery = self._opened(), _Delivery(len(records))
        try:
            for topic, value, key, partition in records:
                polled.producer.produce(topic, value, key, partition, on_delivery=delivery.report)
        except BufferError:
            raise Unavailable(f"Too many records wait for Kafka at {self._settings.kafka}.") from None
        except KafkaException as error:
            self._give_up(polled, error.args[0])
            raise kafka.unavailable(self._settings, error) from error
        if not delivery.ended.wait(WAIT_S):
            raise NotAnswering(
                f"Kafka at {self._settings.kafka} did not take the {self._what}; is it running?"
            )
        if delivery.error is not None:
            self._give_up(polled, delivery.error)
            raise kafka.unavailable(self._settings, KafkaException(delivery.error))

    def close(self) -> None:
        """Stops; what is under way is given up."""
        with self._lock:
            polled, self._polled = self._polled, None
        if polled is not None:
            polled.close()

    def _opened(self) -> _Polled:
        with self._lock:
            if self._polled is None:
                config = kafka.producer_config(self._settings)
                own = {"linger.ms": 0, "delivery.timeout.ms": DELIVERY_TIMEOUT_MS, "log_level": 0}
                self._polled = _Polled(Producer(config | own))
            return self._polled

    def _give_up(self, polled: _Polled, error: KafkaError) -> None:
        """A producer with a fatal error never produces again: the next write opens another."""
        if error.fatal():
            with self._lock:
                if self._polled is polled:
                    self._polled = None
            polled.close()


class _Polled:
    """A producer whose acknowledgements a thread of its own hands over."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._closing = threading.Event()
        threading.Thread(target=self._poll, name="acknowledged", daemon=True).start()

    def close(self) -> None:
        self._closing.set()

    def _poll(self) -> None:
        while not self._closing.is_set() or len(self.producer):
            self.producer.poll(_POLL_S)


class _Delivery:
    """What became of some records: `ended` when each was taken or one was not."""

    def __init__(self, records: int) -> None:
        self.ended = threading.Event()
        self.error: KafkaError | None = None
        self._left = records

    def report(self, error: KafkaError | None, _: Message) -> None:
        """From the one thread that polls."""
        self._left -= 1
        self.error = self.error or error
        if self.error is not None or not self._left:
            self.ended.set()
