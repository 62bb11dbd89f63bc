"""One partition's transactional producer: outputs, changelog and input offsets become visible together or not at all.

Owns: the librdkafka producer with `transactional.id = <group>-<topic>-<partition>` and its five calls. Does not own:
what is produced, or state (partition). All calls block and are made from a thread.
Any error leaves the outcome unknown: the producer is never used again and the process ends (KIP-447, KIP-890).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from pipeline.engine.chunk import Position
from pipeline.engine.crash_points import reach
from pipeline.errors import Unavailable

INIT_TIMEOUT_S = 60  # waits for a dead owner's open transaction to be settled
COMMIT_TIMEOUT_S = 15
TRANSACTION_TIMEOUT_MS = 30_000  # > COMMIT_TIMEOUT_S; a dead producer holds readers back no longer than this

OPTIONS: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
    "retry.backoff.ms": 10,  # the default of 100 ms is paid once a small transaction
    "linger.ms": 5,
    "batch.size": 1 << 20,
    "message.max.bytes": 4 << 20,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 512 << 10,
    "compression.type": "lz4",
}

Headers = Sequence[tuple[str, bytes | None]]
OnDelivery = Callable[[Any, Message], None]


class TransactionalProducer:
    """Creating one fences every earlier producer of the same input partition and settles its open transaction."""

    def __init__(self, kafka: Mapping[str, Any], group: str, position: Position) -> None:
        self.position = position
        self._producer = Producer(
            {**kafka, **OPTIONS, "transactional.id": f"{group}-{position.topic}-{position.partition}"}
        )
        with _as_unavailable(f"no transactional producer for {position.topic}/{position.partition}"):
            self._producer.init_transactions(INIT_TIMEOUT_S)

    def begin(self) -> None:
        with _as_unavailable("a transaction could not begin"):
            self._producer.begin_transaction()

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        headers: Headers | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queue one record of the open transaction; a full queue waits for the broker."""
        options: dict[str, Any] = {"partition": partition} if partition >= 0 else {}
        if headers:
            options["headers"] = list(headers)
        if on_delivery is not None:
            options["on_delivery"] = on_delivery
        while True:
            try:
                self._producer.produce(topic, value, key, **options)
                return
            except BufferError:
                self._producer.poll(0.1)

    def commit(self, next_offset: int, group_metadata: Any) -> None:
        """Commit outputs together with the input position. Raises Unavailable; then the outcome is unknown."""
        with _as_unavailable("a transaction did not commit"):
            reach("offsets.before")
            self._producer.send_offsets_to_transaction(
                [TopicPartition(self.position.topic, self.position.partition, next_offset)],
                group_metadata,
                COMMIT_TIMEOUT_S,
            )
            reach("offsets.after")
            reach("commit.before")
            self._producer.commit_transaction(COMMIT_TIMEOUT_S)
            reach("commit.after")
        self._producer.poll(0)  # serves the delivery reports


def group_metadata(kafka: Mapping[str, Any], group: str) -> Any:
    """The group's metadata for `commit`, from a consumer that never subscribes (generation -1 is accepted)."""
    return Consumer({**kafka, "group.id": group}).consumer_group_metadata()


class _as_unavailable:
    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, KafkaException | BufferError):
            raise Unavailable(f"{self._what}: {error}") from error
