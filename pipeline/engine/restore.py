"""Reads state back from its topics, in bulk, up to the end that the partition had when the reading began.

Owns: the plain librdkafka consumer that does it. Does not own: what is done with the records (partition).
It runs after the partition's transactional producer was initialised, so nothing of an earlier owner is still open
and the end of the log is settled. Faust's own recovery does 15,000 records/s and waits for transaction markers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import Unavailable

BATCH_RECORDS = 20_000
SILENCE_S = 60  # longer than the transaction timeout of a dead producer that others left open

OPTIONS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 10,
    "fetch.message.max.bytes": 8 << 20,
    "fetch.max.bytes": 64 << 20,
    "queued.max.messages.kbytes": 64 << 10,
    "queued.min.messages": 100_000,
    "check.crcs": False,
}


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets that a partition holds: [first, end)."""

    first: int
    end: int


class Reader:
    """Reads partitions of state topics. Blocking; one thread uses it. Raises Unavailable when the broker is silent."""

    def __init__(self, kafka: Mapping[str, Any], group: str) -> None:
        self._kafka = kafka
        self._consumer = Consumer({**kafka, **OPTIONS, "group.id": f"{group}-restore"})

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def span(self, topic: str, partition: int) -> Span:
        """First and end offset, the end counting records of open transactions too."""
        try:
            first, end = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=SILENCE_S
            )
        except KafkaException as error:
            raise Unavailable(f"the ends of {topic}/{partition} are not to be had: {error}") from error
        return Span(first, end)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[list[Message]]:
        """Batches of committed records in [start, end), in order."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start if start > 0 else OFFSET_BEGINNING)])
        silent_since = time.monotonic()
        while True:
            batch, reached = self._batch(end)
            if batch:
                silent_since = time.monotonic()
                yield batch
            if reached:
                break
            if time.monotonic() - silent_since > SILENCE_S:
                raise Unavailable(f"{topic}/{partition} could not be read up to offset {end}")
        self._consumer.unassign()

    def committed(self, group: str, positions: list[tuple[str, int]]) -> dict[tuple[str, int], int | None]:
        """The input offsets that `group` has committed; None where it has none."""
        consumer = Consumer({**self._kafka, "group.id": group})
        try:
            found = consumer.committed(
                [TopicPartition(*position) for position in positions], timeout=SILENCE_S
            )
        except KafkaException as error:
            raise Unavailable(f"the committed offsets of {group} are not to be had: {error}") from error
        finally:
            consumer.close()
        return {(one.topic, one.partition): one.offset if one.offset >= 0 else None for one in found}

    def _batch(self, end: int) -> tuple[list[Message], bool]:
        batch: list[Message] = []
        reached = False
        for message in self._consumer.consume(BATCH_RECORDS, timeout=0.05):
            error, offset = message.error(), message.offset() or 0
            if error is None:
                if offset < end:
                    batch.append(message)
                reached = reached or offset >= end - 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached = reached or offset >= end
            elif not error.retriable() and error.fatal():
                raise Unavailable(f"state could not be read: {error}")
        return batch, reached
