"""The replies of the control stage under idempotency keys, for a day.

Owns: the entries of replies in the table, their records on `control-changelog`, filling a table that has missed some,
removing expired ones. Does not own: when two requests are the same (core.definitions.idempotency).

The table's own changelog is `control`, which every process reads; these entries are left out of it (`is_answer`). A
worker whose table was lost or has missed a commit reads them from `control-changelog` before it decides a command.
Keys begin with `/done/` and a span of time, so that the oldest are first, and a look-up tries four keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.core.definitions.idempotency import KEPT_MS, DoneCommand, holds
from pipeline.engine.restore import OPTIONS, Reader
from pipeline.engine.table import Item, Overlay, Table
from pipeline.errors import Unavailable
from pipeline.records import Command

TOPIC = "control-changelog"
SPAN_MS = KEPT_MS // 2
REMOVED_AT_ONCE = (
    200  # per chunk, beside one for each that is added, so that expired replies do not accumulate
)
_PREFIX = b"/done/"
_NEWEST = b"/newest-answer"  # the broker's time of the newest answer in the table
_OVERLAP_MS = 60_000
_LOOK_UP_S = 30.0

_done = msgspec.json.Decoder(DoneCommand).decode
_encode = msgspec.json.Encoder().encode


def is_answer(key: bytes) -> bool:
    """Whether an entry of the table belongs to this module, and so is not written to `control`."""
    return key.startswith(_PREFIX) or key == _NEWEST


def find(table: Overlay, command: Command, offset: int, at_ms: int) -> DoneCommand | None:
    """The earlier result under the command's id, if it is still valid. offset, at_ms: of the command's record."""
    if not command.request:
        return None
    newest = at_ms // SPAN_MS
    # The clock of a broker that has taken over may be behind: a reply of a moment ago may be of the span to come.
    places = [_place(span, command.namespace, command.id) for span in range(newest - 2, newest + 2)]
    found = [_done(value) for value in table.get_many(places) if value is not None]
    return next((done for done in found if holds(done, offset, at_ms)), None)


def keep(table: Overlay, command: Command, done: DoneCommand) -> tuple[bytes, bytes]:
    """Store a reply in the table. Returns key and value of its record for TOPIC."""
    place, value = _place(done.at_ms // SPAN_MS, command.namespace, command.id), _encode(done)
    table.put(place, value)
    table.put(_NEWEST, str(done.at_ms).encode())
    return place, value


class Expiry:
    """Removes expired replies, a few per chunk."""

    def __init__(self) -> None:
        self._start = _PREFIX
        self._due_ms = 0

    def advance(self, table: Overlay, now_ms: int, commands: int) -> None:
        """now_ms: the broker's time of the newest command. commands: of the chunk; each may have added a reply."""
        if now_ms < self._due_ms:
            return
        rows = table.scan(self._start, REMOVED_AT_ONCE + commands)
        for key, _ in rows:
            if not key.startswith(_PREFIX):
                self._due_ms = now_ms + SPAN_MS
                return
            if (ends_ms := _ends_ms(key)) > now_ms:
                self._due_ms = ends_ms
                return
            table.delete(key)
            self._start = key + b"\0"
        if not rows:
            self._due_ms = now_ms + SPAN_MS


def fill(table: Table, read: Callable[[int], Iterable[list[Item]]]) -> int:
    """Add missing replies to a table. Blocks. Returns how many were read.

    read: batches of TOPIC's records from a broker's time (ms) onwards.
    """
    at, (newest,), number = table.restored(), table.get_many([_NEWEST]), 0
    if at is None:  # no command was ever decided
        return 0
    for batch in read(max(0, int(newest or 0) - _OVERLAP_MS)):
        items: list[Item] = [(key, value) for key, value in batch if value is not None]
        newest_ms = max(_done(value or b"").at_ms for _, value in items)
        table.write([*items, (_NEWEST, str(newest_ms).encode())], at)
        number += len(items)
    return number


def reader(kafka: Mapping[str, Any], group: str) -> Callable[[int], Iterator[list[Item]]]:
    """The `read` of `fill`. kafka: librdkafka's configuration. Reading raises Unavailable."""

    def read(from_ms: int) -> Iterator[list[Item]]:
        start = _offset_at(kafka, group, from_ms)
        with Reader(kafka, group) as topic:
            span = topic.span(TOPIC, 0)
            for batch in topic.read(TOPIC, 0, max(span.first, span.end if start < 0 else start), span.end):
                yield [_item(message) for message in batch]

    return read


def _offset_at(kafka: Mapping[str, Any], group: str, at_ms: int) -> int:
    """The first offset at or after a time; -1 if there is none."""
    consumer = Consumer({**kafka, **OPTIONS, "group.id": f"{group}-answers"})
    try:
        (found,) = consumer.offsets_for_times([TopicPartition(TOPIC, 0, at_ms)], timeout=_LOOK_UP_S)
    except KafkaException as error:
        raise Unavailable(f"cannot read the offsets of {TOPIC}: {error}") from error
    finally:
        consumer.close()
    return int(found.offset)


def _item(message: Message) -> Item:
    return message.key() or b"", message.value()


def _place(span: int, namespace: str, id: str) -> bytes:
    return b"%s%08x/%s/%s" % (_PREFIX, span, namespace.encode(), id.encode())


def _ends_ms(key: bytes) -> int:
    """When the last reply of a span expires."""
    span = int(key[len(_PREFIX) : len(_PREFIX) + 8], 16)
    return (span + 1) * SPAN_MS + KEPT_MS
