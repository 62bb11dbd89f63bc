"""Sends records to an input topic with plain confluent-kafka, as any producer could."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.flow.stream import Sent

HEADERS: list[tuple[str, str | bytes | None]] = [
    ("content-type", b"application/cloudevents+json; charset=UTF-8")
]


def send(
    servers: str,
    records: Iterable[Sent],
    topic: str = "events",
    progress: Callable[[int], object] | None = None,
) -> int:
    """Sends all records, waits until the broker has each, returns how many. Raises KafkaException."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,  # a retry of the client is neither a repeat nor a change of order
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 10,
            "log_level": 0,
            "queue.buffering.max.messages": 200_000,
        }
    )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    for count, record in enumerate(records, 1):
        _produce(producer, topic, record, delivered)
        if count % 1000 == 0:
            producer.poll(0)
            if progress is not None:
                progress(count)
    left = producer.flush(120)
    if failed or left:
        raise KafkaException(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT))
    return count


def _produce(
    producer: Producer, topic: str, record: Sent, delivered: Callable[[KafkaError | None, Message], None]
) -> None:
    while True:
        try:
            producer.produce(topic, record.line, record.key, on_delivery=delivered, headers=HEADERS)
            return
        except BufferError:
            producer.poll(0.1)
