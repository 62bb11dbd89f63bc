"""Rebuilds the lost topic `control` by deciding `commands` again.

Owns: the proof that the definitions are exactly those that were decided before: the audit log, a hash chain, must end
with the same hash. Does not own: deciding (control), writing `control` (lost_topics).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from confluent_kafka import Message

from pipeline.agents import control
from pipeline.agents.control_answers import is_answer
from pipeline.agents.control_memory import Memory, is_slot
from pipeline.engine.chunk import Chunk, Position, Record
from pipeline.engine.ledger import key_of
from pipeline.engine.restore import Reader
from pipeline.engine.table import Overlay, Table
from pipeline.engine.transaction import Transaction
from pipeline.errors import Rejected
from pipeline.records import Audit, Counts
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

COMMANDS = Position("commands", 0)
LOOK_BACK = 100  # records: the newest one of `audit` is within so many offsets of the end, markers included

_counts = msgspec.json.Decoder(Counts).decode
_audit = msgspec.json.Decoder(Audit).decode


@dataclass(frozen=True, slots=True)
class _Command:
    """A record of `commands`, in the form that the control agent reads."""

    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class _Unsent:
    """The members of a transaction that the control agent uses; nothing is published."""

    def __init__(self, table: Overlay, records: Sequence[Record]) -> None:
        self.table = table
        self.chunk = Chunk(*COMMANDS, 0, 0, list(records), 0)

    def send(self, *_: Any, **__: Any) -> None:
        return

    def read(self, _: int) -> None:
        return


def decided_again(settings: Settings) -> Mapping[bytes, bytes | None]:
    """All entries of `control`, by key. Raises Rejected `topic-lost` if they cannot be rebuilt, Unavailable."""
    with Reader(kafka.client_config(settings) | {"log_level": 0}, "tallymark-decided-again") as reader:
        end, newest = _decided(reader), _newest_audit(reader)
        commands = list(_commands(reader, end))
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder) / "control")
        try:
            overlay = Overlay(table)
            memory = Memory(overlay)
            control.fill(cast(Transaction, _Unsent(overlay, commands)), memory)
        finally:
            table.close()
    if newest is None or newest.hash != memory.head.hash:
        raise Rejected(
            "topic-lost",
            f"`commands` holds {len(commands)} commands, but deciding them again does not end with the hash of the "
            "audit log: a part of either is lost, or this version decides differently. Restore control from a backup "
            "of the cluster.",
        )
    # Replies have a topic of their own, and no chunk is in progress whose records could have to be published again.
    return {key: value for key, value in overlay.changes.items() if not (is_slot(key) or is_answer(key))}


def _decided(reader: Reader) -> int:
    """The offset after the last decided command."""
    newest: Counts | None = None
    for message in _all(reader, "control-meta"):
        if message.key() == key_of(COMMANDS):
            newest = _counts(message.value() or b"")
    if newest is None or newest.base:
        raise Rejected(
            "topic-lost",
            "The offset of the last decided command is unknown, so control cannot be rebuilt from commands.",
        )
    return newest.offset + 1


def _newest_audit(reader: Reader) -> Audit | None:
    found = None
    for message in _all(reader, "audit", LOOK_BACK):
        found = _audit(message.value() or b"")
    return found


def _commands(reader: Reader, end: int) -> Iterator[Record]:
    span = reader.span(*COMMANDS)
    for batch in reader.read(*COMMANDS, span.first, min(end, span.end)):
        for message in batch:
            yield _Command(message.offset() or 0, message.timestamp()[1], message.value())


def _all(reader: Reader, topic: str, last: int | None = None) -> Iterator[Message]:
    """The records of a topic's first partition, or those of its last `last` offsets."""
    span = reader.span(topic, 0)
    start = span.first if last is None else max(span.first, span.end - last)
    for batch in reader.read(topic, 0, start, span.end):
        yield from batch
