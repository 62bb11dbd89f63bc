"""A control stage for tests: decides with the real `decide`, without the engine's transactions."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from pipeline.core.control import decide, take
from pipeline.core.definitions.audit import EMPTY, Head, following
from pipeline.core.definitions.index import Catalog, key_of
from pipeline.records import Command, Reply, Worker
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka


class Decider:
    """Reads `commands` from the beginning; answers on `control` and `replies` until closed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(kafka.producer_config(settings) | {"linger.ms": 0})
        self._consumer = Consumer(
            kafka.client_config(settings)
            | {"group.id": str(uuid.uuid4()), "enable.auto.commit": False, "log_level": 0}
        )
        self._catalog = Catalog({})
        self._replies: dict[tuple[str, str], Reply] = {}
        self._head = EMPTY
        self._closing = threading.Event()
        self._deciding = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def revision(self) -> int:
        return self._catalog.revision

    def __enter__(self) -> Self:
        self._consumer.assign([TopicPartition("commands", 0, OFFSET_BEGINNING)])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._consumer.close()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Decides nothing for a while; what came meanwhile is decided afterwards."""
        with self._deciding:
            yield

    def beat(
        self, worker: str, revision: int | None, stage: str = "aggregate", at_ms: int | None = None
    ) -> None:
        """Writes one heartbeat; revision None says goodbye."""
        now_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
        sign = Worker(worker, stage, "here", 1, now_ms, now_ms, revision or 0, [], 0, "")
        value = None if revision is None else msgspec.json.encode(sign)
        self._producer.produce("workers", value, worker)
        self._producer.flush(10)

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._deciding:
                message = self._consumer.poll(0.05)
                if message is not None and not message.error():
                    self._decide(message)

    def _decide(self, message: Message) -> None:
        command = msgspec.json.decode(message.value() or b"", type=Command)
        at_ms, name = message.timestamp()[1], (command.namespace, command.id)
        if (earlier := self._replies.get(name)) is not None:
            self._producer.produce("replies", msgspec.json.encode(earlier), earlier.id)
            self._producer.flush(10)
            return
        decision = decide(self._catalog, command, at_ms)
        take(self._catalog, decision)
        self._replies[name] = decision.reply
        told = following(self._head, command, at_ms, decision.reply, decision.before, decision.definitions)
        self._head = Head(told.seq, told.hash)
        self._producer.produce("audit", msgspec.json.encode(told), partition=0)
        for definition in decision.definitions:
            self._producer.produce("control", msgspec.json.encode(definition), key_of(definition))
        self._producer.produce("replies", msgspec.json.encode(decision.reply), decision.reply.id)
        self._producer.flush(10)
