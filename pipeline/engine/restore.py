"""Reads state back from its topics, in bulk, up to the end that the partition has when the read begins.

Owns: the plain librdkafka consumer for it. Does not own: processing the records (partition).
It runs after the partition's transactional producer was initialised, so no transaction of an earlier owner is open and
the end of the log is final. Faust's own recovery reads 15,000 records/s and waits for transaction markers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.engine.retry import within
from pipeline.errors import Unavailable

BATCH_RECORDS = 5_000
BATCH_BYTES = 2 << 20  # approximate; dedupe's records hold a chunk each, so that a count alone is no limit
FIRST_BATCH_RECORDS = 10
SILENCE_S = 60  # longer than the transaction timeout of another, dead producer

_PASSING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError._UNKNOWN_PARTITION,  # it was added a moment ago
}
T = TypeVar("T")

OPTIONS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 10,
    "fetch.message.max.bytes": 8 << 20,
    "fetch.max.bytes": 16 << 20,
    "queued.max.messages.kbytes": 16 << 10,  # per reader; a worker opens up to eight partitions at once
    "queued.min.messages": 20_000,
    "check.crcs": False,
}
UNCOMMITTED: Mapping[str, Any] = {"isolation.level": "read_uncommitted"}


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets that a partition holds: [first, end)."""

    first: int
    end: int


class Reader:
    """Reads partitions of state topics, from one thread. Every call blocks and raises Unavailable after silence_s."""

    def __init__(self, kafka: Mapping[str, Any], group: str, *, silence_s: float = SILENCE_S) -> None:
        self._kafka = kafka
        self._silence_s = silence_s
        self._consumer = Consumer({**kafka, **OPTIONS, "group.id": f"{group}-restore"})
        # A read_committed consumer ends at the first record of any open transaction, so it would miss what the former
        # owner of this partition has committed after that record.
        self._ends = Consumer({**kafka, **OPTIONS, **UNCOMMITTED, "group.id": f"{group}-restore"})

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
        self._ends.close()

    def span(self, topic: str, partition: int) -> Span:
        """First and end offset; the end includes records of open transactions."""
        place = TopicPartition(topic, partition)
        first, end = _patiently(
            lambda: self._offsets(place),
            f"the offsets of {topic}/{partition}",
            self._silence_s,
        )
        return Span(first, end)

    def _offsets(self, place: TopicPartition) -> Any:
        try:
            return self._ends.get_watermark_offsets(place, timeout=self._silence_s)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
                # Otherwise the client keeps the earlier number of partitions.
                self._ends.list_topics(place.topic, timeout=self._silence_s)
            raise

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[list[Message]]:
        """Batches of committed records in [start, end), in order."""
        if start >= end:
            return
        # OFFSET_BEGINNING would take 500 ms: librdkafka asks for it before it is connected, and then asks again. An
        # offset that retention has deleted is reset to the earliest one.
        self._consumer.assign([TopicPartition(topic, partition, max(start, 0))])
        silent_since = time.monotonic()
        records = FIRST_BATCH_RECORDS
        while True:
            batch, reached = self._batch(records, end)
            if batch:
                silent_since = time.monotonic()
                records = _next_batch(batch)
                yield batch
            if reached:
                break
            if time.monotonic() - silent_since > self._silence_s:
                raise Unavailable(f"cannot read {topic}/{partition} up to offset {end}")
        self._consumer.unassign()

    def committed(self, group: str, positions: list[tuple[str, int]]) -> dict[tuple[str, int], int | None]:
        """The input offsets that `group` has committed; None where it has none."""
        found = _patiently(
            lambda: committed_offsets(self._kafka, group, positions, self._silence_s),
            f"the committed offsets of {group}",
            self._silence_s,
        )
        return {place: offset if offset >= 0 else None for place, offset in found.items()}

    def _batch(self, records: int, end: int) -> tuple[list[Message], bool]:
        batch: list[Message] = []
        reached = False
        for message in self._consumer.consume(records, timeout=0.05):
            error, offset = message.error(), message.offset() or 0
            if error is None:
                if offset < end:
                    batch.append(message)
                reached = reached or offset >= end - 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached = reached or offset >= end
            elif not error.retriable() and error.fatal():
                raise Unavailable(f"cannot read state: {error}")
        return batch, reached


def committed_offsets(
    kafka: Mapping[str, Any], group: str, positions: Sequence[tuple[str, int]], timeout_s: float
) -> dict[tuple[str, int], int]:
    """The input offsets that a group has committed; below 0 where it has none. Raises KafkaException.

    A consumer asks, which does not join the group. librdkafka's admin client, which has a call for it, ends the process
    with a segmentation fault when a broker that has just started answers that it is not the coordinator yet (2.16.0:
    rd_kafka_handle_OffsetFetch in src/rdkafka_request.c asks for the coordinator of a consumer group that only
    consumers have).
    """
    consumer = Consumer({**kafka, "group.id": group, "enable.auto.commit": False})
    try:
        found = consumer.committed([TopicPartition(*position) for position in positions], timeout=timeout_s)
    finally:
        consumer.close()
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return {(place.topic, place.partition): place.offset for place in found}


def _patiently(ask: Callable[[], T], what: str, silence_s: float) -> T:
    """Call `ask`, and retry while a broker that has just started is not ready. Raises Unavailable.

    librdkafka passes on the errors of such a broker, for example that it is not the coordinator of the group.
    """
    try:
        return within(silence_s, ask, passes)
    except KafkaException as error:
        raise Unavailable(f"cannot read {what}: {error.args[0].str()}") from error


def passes(error: BaseException) -> bool:
    """Whether Kafka gives this error while a broker starts or a partition changes its leader."""
    if not isinstance(error, KafkaException):
        return False
    cause: KafkaError = error.args[0]
    return cause.retriable() or cause.code() in _PASSING


def _next_batch(batch: list[Message]) -> int:
    """How many records of this size make BATCH_BYTES."""
    size = sum(len(message.value() or b"") + len(message.key() or b"") for message in batch) // len(batch)
    return max(1, min(BATCH_RECORDS, BATCH_BYTES // max(size, 1)))
