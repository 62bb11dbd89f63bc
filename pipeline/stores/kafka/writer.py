"""Records that the API writes and waits for: nothing is said to be done before the broker has it.

Owns: one producer, made when it is needed first, and waiting for the broker's word. Does not own: what the records
mean (webhook_writer, commands), events (event_writer).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

DELIVERY_TIMEOUT_MS = 10_000
FLUSH_S = DELIVERY_TIMEOUT_MS / 1000 + 5

Written = tuple[str, bytes, str | None, int]  # topic, value, key, partition; -1: as the partitioner says


class Acknowledged:
    """what: the name of a record, for the sentence about one that the broker did not take."""

    def __init__(self, settings: Settings, what: str) -> None:
        self._settings = settings
        self._what = what
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def write(self, records: Sequence[Written]) -> None:
        """Returns when the broker has all of them. Raises Unavailable."""
        failed: list[KafkaError] = []

        def acknowledged(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        with self._lock:
            producer = self._made()
            for topic, value, key, partition in records:
                producer.produce(topic, value, key, partition, on_delivery=acknowledged)
            waiting = producer.flush(FLUSH_S)
        if failed:
            raise kafka.unavailable(self._settings, KafkaException(failed[0]))
        if waiting:
            raise Unavailable(
                f"Kafka at {self._settings.kafka} did not take the {self._what}; is it running?"
            )

    def _made(self) -> Producer:
        if self._producer is None:
            config = kafka.producer_config(self._settings)
            own = {"linger.ms": 0, "delivery.timeout.ms": DELIVERY_TIMEOUT_MS, "log_level": 0}
            self._producer = Producer(config | own)
        return self._producer
