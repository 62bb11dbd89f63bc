"""Appends the events of requests to `events-http`, and returns when the broker has them.

Owns: the partition of a record, and how many records may wait for Kafka. Does not own: the producer (writer), the
contents (core.metering.http_batch) or the response to the client (api.metering.ingest).

A record that timed out may still be in the log: its outcome is unknown, and a retry of the client with the same ids
counts once. So it is always safe to retry a failed append.
"""

from __future__ import annotations

import itertools

from pipeline.core.metering.http_batch import NAMESPACE_HEADER, TOPIC
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.client import ConfigValue
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

DELIVERY_S = 5.0  # how long the broker may take, retries included
WAITING_KBYTES = (
    64 << 10
)  # limit of records that wait for the broker; beyond it, requests are refused at once
WAITING_RECORDS = 20_000

_OPTIONS: dict[str, ConfigValue] = {
    "linger.ms": 1,
    "queue.buffering.max.kbytes": WAITING_KBYTES,
    "queue.buffering.max.messages": WAITING_RECORDS,
    "message.max.bytes": 2 << 20,
    "retry.backoff.ms": 20,
}


class EventLog:
    """Use it from one event loop; `close` waits for records in progress."""

    def __init__(self, settings: Settings) -> None:
        self._turns = itertools.cycle(range(topics.load(settings)[TOPIC].partitions))
        self._writer = KafkaWriter(settings, "events", DELIVERY_S, _OPTIONS)

    async def append(self, namespace: str, packed: bytes) -> None:
        """Return when the broker has stored the record. Raises Unavailable: it is not appended, or that is unknown."""
        headers = [(NAMESPACE_HEADER, namespace.encode())]
        await self._writer.append(WrittenRecord(TOPIC, packed, partition=next(self._turns), headers=headers))

    def close(self) -> None:
        """Wait for the outcome of records in progress, then stop."""
        self._writer.close()
