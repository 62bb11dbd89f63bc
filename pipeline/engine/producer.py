"""One partition's transactional producer: outputs, changelog and input offsets become visible together or not at all.

Owns: the librdkafka producer with `transactional.id = <group>-<topic>-<partition>`, its five calls, and detecting the
loss of a broker. Does not own: what is produced, or state (partition). All calls block and are made from a thread.
Any error leaves the outcome unknown: the producer is never used again and the process ends (KIP-447, KIP-890).

librdkafka 2.10 and later drops a broker that metadata does not list, as happens while a broker starts. It continues to
ask the dropped one for the group's coordinator, and send_offsets_to_transaction then never returns (librdkafka issues
5456 and 5511). So a producer that has lost a broker is replaced before its next transaction (`has_lost_broker`), and
its cached coordinator expires after COORDINATOR_S without a transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from pipeline.engine.chunk import Position
from pipeline.engine.crash_points import reach
from pipeline.errors import Unavailable

INIT_TIMEOUT_S = 60  # init waits until the open transaction of a dead owner has ended
COMMIT_TIMEOUT_S = 15
TRANSACTION_TIMEOUT_MS = 30_000  # > COMMIT_TIMEOUT_S; a dead producer blocks readers no longer than this

COORDINATOR_S = 10
CONNECT_S = 5

OPTIONS: Mapping[str, Any] = {
    "metadata.max.age.ms": COORDINATOR_S * 1000,  # also how long the group's coordinator is cached
    "topic.metadata.refresh.interval.ms": COORDINATOR_S * 800,  # so that topics never expire
    "enable.idempotence": True,
    "acks": "all",
    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
    "retry.backoff.ms": 10,  # every small transaction would pay the default of 100 ms
    "linger.ms": 5,
    "batch.size": 1 << 20,
    "message.max.bytes": 4 << 20,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 512 << 10,
    "compression.type": "lz4",
}

_LOST = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}

Headers = Sequence[tuple[str, bytes | None]]
OnDelivery = Callable[[Any, Message], None]


class TransactionalProducer:
    """Creating one fences every earlier producer of the same input partition and ends its open transaction."""

    def __init__(self, kafka: Mapping[str, Any], group: str, position: Position) -> None:
        self.position = position
        self._lost_broker = False
        own = {"transactional.id": transactional_id(group, position), "error_cb": self._note_error}
        self._producer = Producer({**kafka, **OPTIONS, **own})
        self._connect()
        with _as_unavailable(f"cannot initialise the producer of {position.topic}/{position.partition}"):
            self._producer.init_transactions(INIT_TIMEOUT_S)

    def has_lost_broker(self) -> bool:
        """Whether a broker connection was lost since this producer was created. Does not block."""
        self._producer.poll(0)
        return self._lost_broker

    def _connect(self) -> None:
        """Return when a broker is connected for good; without one, after CONNECT_S.

        The first answer comes over the connection to a bootstrap server, which librdkafka then replaces by one to a
        broker of the cluster. If its search for the coordinator falls into that moment, it waits 500 ms before it
        searches again (rd_kafka_txn_coord_timer_start). The second answer comes over a connection that stays.
        """
        with contextlib.suppress(KafkaException):  # init_transactions waits longer, and shows the error
            for _ in range(2):
                self._producer.list_topics(self.position.topic, timeout=CONNECT_S)

    def _note_error(self, error: KafkaError) -> None:
        self._lost_broker = self._lost_broker or error.code() in _LOST

    def begin(self) -> None:
        with _as_unavailable("cannot begin a transaction"):
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
        """Queue one record of the open transaction; waits for the broker when the queue is full."""
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
        """Commit outputs together with the input offset. Raises Unavailable; the outcome is unknown then."""
        with _as_unavailable("the commit of a transaction failed"):
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


def transactional_id(group: str, position: Position) -> str:
    """The id of the producers of an input partition."""
    return f"{group}-{position.topic}-{position.partition}"


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
