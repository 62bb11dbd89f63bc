"""A compacted topic in memory: the newest value of each key.

Owns: loading a topic and then following it, waiting for values, and refusing a topic other than the one with which
state was built. Does not own: the meaning of the values (definitions). A view joins no consumer group: each process
reads the whole topic.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Generic, Literal, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.engine.lineage import LineageRefused
from pipeline.engine.unreadable import skip
from pipeline.errors import Broken, NotAnswering, Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids

V = TypeVar("V")
Changed = Callable[[Mapping[str, "V | None"]], None]

LOAD_TIMEOUT_S = 30.0
LOOK_S = 5.0  # interval of the check of the topic id
# How long the broker holds a fetch that finds nothing; a new record is returned at once. While a view loads, the end of
# a topic is detected after that time. Later it only costs the broker CPU time, and a stack has dozens of views.
LOADING_WAIT_MS, FOLLOWING_WAIT_MS = 100, 2000
LOADING_S = 10.0  # a process that lives longer than that opens each view again, to wait longer
_POLL_S = 0.5
_BATCH = 1000
_AWAY_S = 1.0  # pause before the next retry while a topic or the broker is unavailable


class CompactedView(Generic[V]):
    """The newest value of each key of one compacted topic, kept up to date by its own thread.

    Only committed records are read, in order. A record without a value removes its key.
    Use it as a context manager, or call `start()` and `close()`. It retries while the broker is unavailable.

    Args:
        settings: For the addresses of the brokers.
        topic: The topic to read.
        decode: Decodes a value. A record that it refuses with Rejected is skipped. Any other error stops the view, and
            every later call raises Broken.
        begin: `latest` reads only records that are published after the start.
        guarded: A missing record means that there is no such value, so a topic that was lost or recreated is refused:
            every call raises Unavailable then.
    """

    loading_s = LOADING_S

    def __init__(
        self,
        settings: Settings,
        topic: str,
        decode: Callable[[bytes], V],
        begin: Literal["earliest", "latest"] = "earliest",
        *,
        guarded: bool = False,
    ) -> None:
        self.topic = topic
        self._settings = settings
        self._decode = decode
        self._begin = begin
        self._values: dict[str, V] = {}
        self._callbacks: list[Changed[V]] = []
        self._on_failure: list[Callable[[BaseException], None]] = []
        self._changed = threading.Condition()
        self._answered_s = time.monotonic()  # time of the last response of Kafka
        self._unread: set[int] | None = None  # partitions not read to their end yet; None: unknown
        self._failure: BaseException | None = None
        self._guarded = guarded
        self._refusal = ""  # why the topic is not read
        self._watch: topic_ids.TopicWatch | None = None
        self._looked_s = 0.0
        self._next: dict[
            int, int
        ] = {}  # by partition: the offset from which another consumer has to continue
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"view-{topic}", daemon=True)

    def start(self) -> Self:
        """Start to read; returns at once."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop reading; values that were read stay available."""
        self._closing.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_change(self, callback: Changed[V]) -> None:
        """Call `callback` with {key: new value or None} after each batch, from the view's thread."""
        self._callbacks.append(callback)

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Call `callback` once if the view stops, since a caller of `on_change` alone would keep old values."""
        self._on_failure.append(callback)

    def wait_loaded(self, timeout_s: float = LOAD_TIMEOUT_S, silence_s: float = math.inf) -> None:
        """Returns when the topic was read to its end.

        Raises NotAnswering after `timeout_s`, or once Kafka was silent for `silence_s` of it.
        """
        began_s = time.monotonic()
        with self._changed:
            while not self._is_decided():
                now_s = time.monotonic()
                left_s = began_s + timeout_s - now_s
                silence_left_s = max(began_s, self._answered_s) + silence_s - now_s
                if left_s <= 0 or silence_left_s <= 0:
                    break
                self._changed.wait(min(left_s, silence_left_s))
            self._check()
            if self._unread != set():
                raise self.not_loaded(timeout_s if left_s <= 0 else silence_s)

    def not_loaded(self, after_s: float) -> NotAnswering:
        """The error where a topic was not read to its end in `after_s`."""
        return NotAnswering(
            f"Kafka at {self._settings.kafka} did not return the topic {self.topic} within {after_s:.3g} s: "
            "is it running, and were the topics created?"
        )

    def is_decided(self) -> bool:
        """Whether `wait_loaded` returns or raises at once."""
        with self._changed:
            return self._is_decided()

    def silent_s(self) -> float:
        """For how long Kafka has not answered, in seconds."""
        with self._changed:
            return time.monotonic() - self._answered_s

    def _is_decided(self) -> bool:
        return self._unread == set() or self._failure is not None or self._refusal != ""

    def wait_for(self, predicate: Callable[[Mapping[str, V]], bool], timeout_s: float) -> bool:
        """Whether `predicate` of the values holds within `timeout_s`; it is evaluated after each change."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or predicate(self._values), timeout_s)
            self._check()
            return predicate(self._values)

    def get(self, key: str) -> V | None:
        """The newest value of `key`, or None."""
        with self._changed:
            self._check()
            return self._values.get(key)

    def snapshot(self) -> dict[str, V]:
        """All current values by key."""
        with self._changed:
            self._check()
            return dict(self._values)

    def _check(self) -> None:
        if self._refusal:
            raise Unavailable(self._refusal)
        if isinstance(self._failure, LineageRefused):
            raise Unavailable(str(self._failure)) from self._failure
        if self._failure is not None:
            raise Broken(f"The view of the topic {self.topic} stopped: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            if self._consume(LOADING_WAIT_MS, self._assign, self.loading_s):
                self._consume(FOLLOWING_WAIT_MS, self._resume, math.inf)
        except BaseException as error:  # raised by the next call of a method
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            for callback in self._on_failure:
                callback(error)

    def _consume(self, wait_ms: int, assign: Callable[[Consumer], bool], seconds: float) -> bool:
        """Follow the topic with one consumer; whether it is to be continued after `seconds`, once it is loaded."""
        consumer = Consumer(self._config(wait_ms), logger=kafka._silent())
        try:
            assigned, until_s = assign(consumer), time.monotonic() + seconds
            while assigned and not self._closing.is_set():
                # consume() alone would wait for a whole batch.
                first = consumer.poll(_POLL_S)
                if first is not None:
                    self._take([first, *consumer.consume(_BATCH, 0)])
                self._look()
                if not self._unread and time.monotonic() > until_s:
                    return True
            return False
        finally:
            consumer.close()

    def _config(self, wait_ms: int) -> dict[str, kafka.ConfigValue]:
        return kafka.client_config(self._settings) | {
            "group.id": f"tallymark-view-{uuid.uuid4()}",  # required, never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": self._begin,
            "fetch.error.backoff.ms": 50,
            "fetch.wait.max.ms": wait_ms,
            "log_level": 0,
        }

    def _look(self) -> None:
        """Raise LineageRefused when the topic has been replaced."""
        if self._watch is None or time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        if sentence := self._watch.look():
            raise LineageRefused(
                f"{sentence} `tallymark topics check` shows how to recover; then restart this process."
            )

    def _is_right(self) -> bool:
        """Whether the topic is the one with which state was built, or is not guarded. Raises Unavailable."""
        if not self._guarded:
            return True
        identity = topic_ids.read(self._settings, [self.topic])
        self._refusal = _refusal(identity, self.topic)
        if self._refusal:
            with self._changed:
                self._changed.notify_all()
            return False
        self._watch = topic_ids.TopicWatch(self._settings, {self.topic: identity.actual[self.topic]})
        return True

    def _assign(self, consumer: Consumer) -> bool:
        """Whether every partition is assigned; waits for the broker and the topic until the view is closed."""
        while not self._closing.is_set():
            try:
                found = consumer.list_topics(self.topic, timeout=_AWAY_S).topics[self.topic]
                self._answered_s = time.monotonic()
                if self._is_right() and found.error is None and found.partitions:
                    self._next = {p: self._offset(consumer, p) for p in found.partitions}
                    with self._changed:
                        self._unread = set(found.partitions) if self._begin == "earliest" else set()
                        self._changed.notify_all()
                    return self._resume(consumer)
            except (KafkaException, Unavailable):
                pass  # unavailable: retry
            self._closing.wait(_AWAY_S if self._refusal else _AWAY_S / 10)
        return False

    def _resume(self, consumer: Consumer) -> bool:
        """Assign every partition, each where it was left."""
        consumer.assign([TopicPartition(self.topic, p, offset) for p, offset in self._next.items()])
        return bool(self._next)

    def _offset(self, consumer: Consumer, partition: int) -> int:
        low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=_AWAY_S)
        return low if self._begin == "earliest" else high

    def _take(self, messages: list[Message]) -> None:
        changes: dict[str, V | None] = {}
        ended: set[int] = set()
        for message in messages:
            error = message.error()
            if error is None:
                self._read(message, changes)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
            elif error.code() in _FATAL or error.fatal():
                raise KafkaException(error)
        with self._changed:
            self._answered_s = time.monotonic()
            for key, new in changes.items():
                self._keep(key, new)
            if self._unread:
                self._unread -= ended
            self._changed.notify_all()
        if changes:
            for callback in self._callbacks:
                callback(changes)

    def _read(self, message: Message, changes: dict[str, V | None]) -> None:
        """Decode a record into `changes`; one that is refused is skipped."""
        self._next[message.partition() or 0] = (message.offset() or 0) + 1
        try:
            key, value = _text(message.key() or b""), message.value()
            if self._wants(key):
                content = None if value is None else self._decode(value)
                changes.pop(key, None)  # so that the newest of a key is in the order of arrival
                changes[key] = content
        except Rejected as refusal:
            skip(self.topic, message.partition() or 0, message.offset() or 0, refusal)

    def _wants(self, key: str) -> bool:
        """Whether records of this key are decoded, kept and passed to callbacks."""
        return True

    def _keep(self, key: str, value: V | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value


def _refusal(identity: topic_ids.Identity, topic: str) -> str:
    """Why a guarded topic cannot be read; empty if it can."""
    recovery = "`tallymark topics check` shows how to recover."
    if identity.is_another(topic):
        ids = topic_ids.changed_id(identity.known[topic].id, identity.actual[topic])
        return f"The topic {topic} was recreated: {ids}. {recovery}"
    if identity.is_lost(topic):
        return f"The topic {topic} is missing, but state was built with it. {recovery}"
    if topic not in identity.actual:
        return f"The topic {topic} is missing; `tallymark topics apply` creates it."
    if topic not in identity.known:
        return f"The id of {topic} is not recorded in {topic_ids.TOPIC}; `tallymark topics apply` records it."
    return ""


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Rejected("bad-record", "Its key is not UTF-8.") from None


_FATAL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}
