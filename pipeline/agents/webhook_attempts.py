"""Says on `webhook-work` what became of a try.

Owns: the plain, idempotent producer for that, outside of any transaction. Does not own: what follows from it (webhook).
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer

from pipeline.errors import Unavailable
from pipeline.records import WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

POLL_S = 0.1
_encode = msgspec.json.Encoder().encode


class AttemptWriter:
    """`record` returns when the broker holds the record. A broker that goes away is waited for, for minutes."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(kafka.producer_config(settings) | {"linger.ms": 2, "log_level": 0})
        threading.Thread(target=self._poll, name="outcomes", daemon=True).start()

    async def record(self, partition: int, work: WebhookWork) -> None:
        """Raises Unavailable; then the outcome is not known to anybody, and the try is made again."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def reported(error: Any, _: Any) -> None:
            loop.call_soon_threadsafe(_settle, written, error)

        try:
            self._producer.produce(
                self._topic, _encode(work), work.endpoint.encode(), partition, on_delivery=reported
            )
        except BufferError as error:
            raise Unavailable(f"{self._topic} takes nothing more: {error}") from error
        await written

    def _poll(self) -> None:
        while True:
            self._producer.poll(POLL_S)


def _settle(written: asyncio.Future[None], error: Any) -> None:
    if written.cancelled():
        return
    if error is None:
        written.set_result(None)
    else:
        failure = Unavailable("what became of a webhook could not be written")
        failure.__cause__ = KafkaException(error)
        written.set_exception(failure)
