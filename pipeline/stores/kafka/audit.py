"""The audit log for readers: every record is verified against its predecessor, and found by actor, kind and time.

Owns: following the topic `audit`, an index of it in memory, fetching records. Does not own: the contents of a record
and the chain (core.definitions.audit), writing it (control). The newest records stay in memory; older ones are fetched
from Kafka.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

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
_NEAR = 2_000  # a gap of up to so many records is read instead of skipped by a seek

_audit = reader_of(Audit)


class Entry(NamedTuple):
    """The index entry of one record; `offset` is its offset in the topic."""

    offset: int
    at_ms: int
    namespace: str
    actor: str
    kind: str
    name: str


class AuditFilter(NamedTuple):
    """Which records of one namespace; None: any. The time is in [from_ms, to_ms)."""

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
    """Whether the hash chain of all records that were read is valid; `detail` names the first invalid one."""

    holds: bool
    records: int
    detail: str


class AuditLog:
    """Follows the topic from the first call onwards, in its own thread. `close()` ends it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: list[Entry] = []
        self._kept: deque[tuple[int, Audit]] = deque(maxlen=KEPT)
        self._head: AuditHead = EMPTY
        self._broken = ""
        self._reached = -1  # everything before this offset is read
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(10)

    def find(self, filter_: AuditFilter, skip: int, most: int) -> tuple[int, list[Audit], Chain]:
        """The number of matching records, those after the newest `skip` of them, newest first, and the chain.

        It includes everything that was written before the call. Raises Unavailable.
        """
        self._start()
        self._wait_read(self._end())
        with self._changed:
            entries, chain = list(self._entries), Chain(not self._broken, self._head.seq, self._broken)
        found = [entry.offset for entry in reversed(entries) if filter_.has(entry)]
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
                raise Unavailable("The audit log is still being read; try again.")

    def _records(self, offsets: Sequence[int]) -> list[Audit]:
        with self._changed:
            known = dict(self._kept)
        missing = sorted(offset for offset in offsets if offset not in known)
        if missing:
            known |= self._fetch(missing)
        return [known[offset] for offset in offsets]

    def _fetch(self, offsets: Sequence[int]) -> dict[int, Audit]:
        """The records at `offsets`, which must be sorted."""
        consumer, found, remaining = self._consumer(), dict[int, Audit](), deque(offsets)
        deadline, place = time.monotonic() + 4 * _ANSWER_S, -1
        try:
            while remaining:
                if place < 0 or not place <= remaining[0] < place + _NEAR:
                    place = remaining[0]
                    consumer.assign([TopicPartition(TOPIC, 0, place)])
                for message in consumer.consume(_BATCH, _POLL_S):
                    if message.error() is None:
                        place = (message.offset() or 0) + 1
                        if remaining and place - 1 == remaining[0]:
                            found[remaining.popleft()] = _audit(message.value())
                if time.monotonic() > deadline:
                    raise Unavailable("Kafka did not return the records of the audit log in time.")
        finally:
            consumer.close()
        return found

    def _run(self) -> None:
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(TOPIC, 0, 0)])
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
        """Add a record. One that cannot be decoded breaks the chain, since Tallymark did not write it."""
        offset = message.offset() or 0
        try:
            self._add(offset, _audit(message.value()))
        except Rejected as refusal:
            self._broken = (
                self._broken or f"The record at offset {offset} cannot be decoded. {refusal.detail}"
            )
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
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
