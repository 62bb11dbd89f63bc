"""The audit log as a reader has it: every record checked against the one before, found by who, what and when.

Owns: following the topic `audit`, an index of it in memory, fetching records. Does not own: what a record says and
the chain (core.definitions.audit), who writes it (control). The newest records are kept whole, older ones are fetched
anew.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.core.definitions.audit import EMPTY, AuditHead, verify
from pipeline.core.values.json_value import reader_of
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.records import Audit
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

TOPIC = "audit"
KEPT = 5_000
_POLL_S = 0.2
_BATCH = 1_000
_END_S = 2.5  # for Kafka to say where the log ends
_ANSWER_S = 5.0
_NEAR = 2_000  # so many records are read past rather than sought over

_audit = reader_of(Audit)


class Entry(NamedTuple):
    """What the index knows of one record; `offset` is its place in the topic."""

    offset: int
    at_ms: int
    namespace: str
    actor: str
    kind: str
    name: str


class AuditFilter(NamedTuple):
    """Which records of one namespace; None: any. from_ms is in it, to_ms is not."""

    namespace: str
    from_ms: int | None = None
    to_ms: int | None = None
    actor: str | None = None
    kind: str | None = None
    name: str | None = None

    def has(self, entry: Entry) -> bool:
        return (
            entry.namespace == self.namespace
            and (self.from_ms is None or entry.at_ms >= self.from_ms)
            and (self.to_ms is None or entry.at_ms < self.to_ms)
            and self.actor in (None, entry.actor)
            and self.kind in (None, entry.kind)
            and self.name in (None, entry.name)
        )


class Chain(NamedTuple):
    """Whether the records that were read are those that were written; `detail` names the first that is not."""

    holds: bool
    records: int
    detail: str


class AuditLog:
    """Follows the topic from the first question on, in a thread of its own. `close()` ends it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: list[Entry] = []
        self._kept: deque[tuple[int, Audit]] = deque(maxlen=KEPT)
        self._head: AuditHead = EMPTY
        self._broken = ""
        self._reached = -1  # everything before this offset was read
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops reading."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(10)

    def find(self, wanted: AuditFilter, skip: int, most: int) -> tuple[int, list[Audit], Chain]:
        """How many records are wanted, those after the newest `skip` of them, newest first, and the chain.

        Knows all that was written before the call. Raises Unavailable.
        """
        self._start()
        self._wait_read(self._end())
        with self._changed:
            entries, chain = list(self._entries), Chain(not self._broken, self._head.seq, self._broken)
        found = [entry.offset for entry in reversed(entries) if wanted.has(entry)]
        return len(found), self._records(found[skip : skip + most]), chain

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)
                self._thread.start()

    def _end(self) -> int:
        consumer = self._consumer()
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=_END_S)
        except KafkaException as error:
            raise kafka.unavailable(self._settings, error) from error
        finally:
            consumer.close()
        return int(end)

    def _wait_read(self, end: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._reached >= end, 4 * _ANSWER_S)
            if self._failure is not None:
                raise Broken(f"The audit log cannot be read: {self._failure}") from self._failure
            if self._reached < end:
                raise Unavailable("The audit log was not read to its end yet; ask again.")

    def _records(self, offsets: Sequence[int]) -> list[Audit]:
        with self._changed:
            known = dict(self._kept)
        missing = sorted(offset for offset in offsets if offset not in known)
        if missing:
            known |= self._fetch(missing)
        return [known[offset] for offset in offsets]

    def _fetch(self, offsets: Sequence[int]) -> dict[int, Audit]:
        """The records at `offsets`, which ascend."""
        consumer, found, wanted = self._consumer(), dict[int, Audit](), deque(offsets)
        deadline, place = time.monotonic() + 4 * _ANSWER_S, -1
        try:
            while wanted:
                if place < 0 or not place <= wanted[0] < place + _NEAR:
                    place = wanted[0]
                    consumer.assign([TopicPartition(TOPIC, 0, place)])
                for message in consumer.consume(_BATCH, _POLL_S):
                    if message.error() is None:
                        place = (message.offset() or 0) + 1
                        if wanted and place - 1 == wanted[0]:
                            found[wanted.popleft()] = _audit(message.value())
                if time.monotonic() > deadline:
                    raise Unavailable("Kafka did not give the records of the audit log in time.")
        finally:
            consumer.close()
        return found

    def _run(self) -> None:
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
            while not self._closing.is_set():
                first = consumer.poll(_POLL_S)
                if first is not None:
                    self._take([first, *consumer.consume(_BATCH, 0)])
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            consumer.close()

    def _take(self, messages: list[Message]) -> None:
        with self._changed:
            for message in messages:
                error = message.error()
                if error is None:
                    self._take_one(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._reached = message.offset() or 0
                elif error.fatal():
                    raise KafkaException(error)
            self._changed.notify_all()

    def _take_one(self, message: Message) -> None:
        """A record that cannot be read breaks the chain: something is in the log that Tallymark did not write."""
        offset = message.offset() or 0
        try:
            self._add(offset, _audit(message.value()))
        except Rejected as refusal:
            self._broken = self._broken or f"The record at offset {offset} is no entry. {refusal.detail}"
            self._reached = offset + 1

    def _add(self, offset: int, record: Audit) -> None:
        repeated = (record.seq, record.hash) == self._head
        try:
            self._head = verify([record], self._head)
        except Rejected as broken:
            self._broken = self._broken or broken.detail
            self._head = AuditHead(record.seq, record.hash)
        self._reached = offset + 1
        if not repeated:
            namespace, actor, kind = (sys.intern(t) for t in (record.namespace, record.actor, record.kind))
            self._entries.append(Entry(offset, record.at_ms, namespace, actor, kind, record.name))
            self._kept.append((offset, record))

    def _consumer(self) -> Consumer:
        return Consumer(
            kafka.client_config(self._settings)
            | {
                "group.id": f"tallymark-audit-{uuid.uuid4()}",  # required, never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
