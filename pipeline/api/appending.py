"""Records that the API itself writes: alerts of tests, and wishes about deliveries.

Owns: a producer for them, and waiting for the broker's word. Does not own: commands (commands), events (event_log).
"""

from __future__ import annotations

import threading

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka, topics
from pipeline.core.deliveries import partition_of
from pipeline.errors import Unavailable
from pipeline.records import Alert, WebhookWork
from pipeline.settings import Settings

ALERTS, WORK = "alerts", "webhook-work"
_TIMEOUT_MS = 10_000
_encode = msgspec.json.Encoder().encode


class Appending:
    """One producer, made when it is needed first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partitions = topics.load(settings)[WORK].partitions
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def alert(self, alert: Alert) -> None:
        """Tells it. Raises Unavailable."""
        self._append([(ALERTS, alert.id, _encode(alert), -1)])

    def work(self, wishes: list[WebhookWork]) -> None:
        """Gives the webhook stage work, each in its endpoint's partition. Raises Unavailable."""
        self._append(
            [
                (
                    WORK,
                    one.endpoint,
                    _encode(one),
                    partition_of(one.namespace, one.endpoint, self._partitions),
                )
                for one in wishes
            ]
        )

    def _append(self, records: list[tuple[str, str, bytes, int]]) -> None:
        failed: list[KafkaError] = []

        def acknowledged(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        with self._lock:
            if self._producer is None:
                config = kafka.producer_config(self._settings)
                self._producer = Producer(
                    config | {"linger.ms": 0, "delivery.timeout.ms": _TIMEOUT_MS, "log_level": 0}
                )
            for topic, key, value, partition in records:
                self._producer.produce(topic, value, key, partition, on_delivery=acknowledged)
            waiting = self._producer.flush(_TIMEOUT_MS / 1000 + 5)
        if failed:
            raise kafka.unavailable(self._settings, KafkaException(failed[0]))
        if waiting:
            raise Unavailable(f"Kafka at {self._settings.kafka} did not take the record; is it running?")
