"""Appends requests' events to `events-http` and tells when the broker has them.

Owns: the producer, its bounds, and the way of an acknowledgement back into the event loop. Does not own: what is
appended (core.metering.http_batch) or what the client is told (api.metering.ingest).

A record that timed out may stand in the log all the same: its outcome is unknown, and the client's repeat with the
same ids is known as one. So a failed append is always safe to repeat.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.core.metering.http_batch import NAMESPACE_HEADER, TOPIC
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics

DELIVERY_MS = 5_000  # how long the broker may take, retries included
WAITING_KBYTES = 64 << 10  # of records that wait for the broker; beyond that a request is refused at once
WAITING_RECORDS = 20_000
_POLL_S = 0.1
_FLUSH_S = DELIVERY_MS / 1000 + 1

_OPTIONS: dict[str, Any] = {
    "delivery.timeout.ms": DELIVERY_MS,
    "linger.ms": 1,
    "queue.buffering.max.kbytes": WAITING_KBYTES,
    "queue.buffering.max.messages": WAITING_RECORDS,
    "message.max.bytes": 2 << 20,
    "retry.backoff.ms": 20,
    "log_level": 0,
}

Waiter = asyncio.Future[None]


class EventLog:
    """To be used from one event loop; `close` waits for what is under way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns = itertools.cycle(range(topics.load(settings)[TOPIC].partitions))
        self._producer: Producer | None = None
        self._failed: list[Producer] = []  # after a fatal error; kept until each record has its outcome
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: deque[tuple[Waiter, KafkaError | None]] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="event-log", daemon=True)

    async def append(self, namespace: str, packed: bytes) -> None:
        """Returns when the broker has the record for good. Raises Unavailable: not appended, or not known."""
        producer = self._producer or self._open()
        waiter: Waiter = asyncio.get_running_loop().create_future()

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._settle(waiter, error)

        try:
            producer.produce(
                TOPIC,
                packed,
                partition=next(self._turns),
                headers=[(NAMESPACE_HEADER, namespace.encode())],
                on_delivery=delivered,
            )
        except BufferError:
            raise Unavailable(f"Too many events wait for Kafka at {self._settings.kafka}.") from None
        except KafkaException as error:
            self._replace(producer, error.args[0])
            raise kafka.unavailable(self._settings, error) from error
        try:
            await waiter
        except KafkaException as error:
            self._replace(producer, error.args[0])
            raise kafka.unavailable(self._settings, error) from error

    def close(self) -> None:
        """Waits for the broker's word on what is under way, then stops."""
        self._closing.set()
        if self._loop is not None:
            self._thread.join()
        for producer in (*self._failed, self._producer):
            if producer is not None:
                producer.flush(_FLUSH_S)

    def _open(self) -> Producer:
        """A producer; the first one brings the thread that hands over acknowledgements."""
        self._producer = Producer(kafka.producer_config(self._settings) | _OPTIONS)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread.start()
        return self._producer

    def _replace(self, producer: Producer, error: KafkaError) -> None:
        """After a fatal error a producer produces never again: the next append opens another."""
        if error.fatal() and producer is self._producer:
            self._failed.append(producer)
            self._producer = None

    def _poll(self) -> None:
        while not self._closing.is_set():
            producer = self._producer
            if producer is None:
                self._closing.wait(_POLL_S)
            else:
                producer.poll(_POLL_S)
            for failed in [one for one in self._failed if one is not producer]:
                failed.poll(0)
                if not len(failed):
                    self._failed.remove(failed)

    def _settle(self, waiter: Waiter, error: KafkaError | None) -> None:
        """From the one thread that polls: many acknowledgements wake the loop once."""
        assert self._loop is not None
        self._done.append((waiter, error))
        if len(self._done) == 1 and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        while self._done:
            waiter, error = self._done.popleft()
            if waiter.done():  # its request was given up
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(KafkaException(error))
