"""What arrived on an input topic, read back from the broker by a plain consumer: the recount's input."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.fixtures.patience import PATIENCE_S
from tests.flow.recount import Arrived


def arrived(servers: str, topic: str = "events") -> list[Arrived]:
    """Every record of the topic up to its present end, partition by partition in the order of offsets.

    Copies of an identity lie in one partition, so this order decides which of them is first.
    Raises TimeoutError when the broker falls silent before the end.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "recount",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "receive.message.max.bytes": 1_000_000_000,  # what a few compressed KB may become
        }
    )
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)
        ends = {number: _end(consumer, topic, number) for number in partitions}
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        return _read(consumer, {number: end for number, end in ends.items() if end > 0})
    finally:
        consumer.close()


def _end(consumer: Consumer, topic: str, partition: int) -> int:
    return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE_S)[1])


def _read(consumer: Consumer, ends: dict[int, int]) -> list[Arrived]:
    found: list[Arrived] = []
    received_s = time.monotonic()
    while ends:
        messages = consumer.consume(5_000, timeout=0.2)  # returns early only when it has that many
        if messages:
            received_s = time.monotonic()
        elif time.monotonic() - received_s > PATIENCE_S:
            raise TimeoutError(f"the topic ends before {ends}")
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None or partition is None or offset is None:
                raise KafkaException(error)
            found.append(Arrived(message.value() or b"", message.timestamp()[1], partition, offset))
            if partition in ends and offset + 1 >= ends[partition]:
                del ends[partition]
    return sorted(found, key=lambda line: (line.partition, line.offset))
