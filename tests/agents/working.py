"""A transaction without a broker: what an agent does to it, to look at.

Has the surface of engine.transaction.Transaction that agents use; the table is a dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pipeline.engine.chunk import Chunk
from pipeline.engine.transaction import Transaction


@dataclass
class FakeRecord:
    """One record of a chunk."""

    offset: int
    value: bytes | None
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass
class Sent:
    topic: str
    value: bytes | None
    key: bytes | None
    partition: int
    headers: Any


@dataclass
class DictTable:
    """engine.table.Overlay over a dict; writes show at once."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    changes: dict[bytes, bytes | None] = field(default_factory=dict)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = value
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        self.rows.pop(key, None)
        self.changes[key] = None

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.rows.items() if key >= start)[:limit]


class Working:
    """`transaction` is to be passed to an agent's `fill`."""

    def __init__(self, chunk: Chunk, table: DictTable | None = None, counted_offset: int = -1) -> None:
        self.chunk = chunk
        self.table = table if table is not None else DictTable()
        self.counted_offset = counted_offset
        self.sent: list[Sent] = []
        self.counts: dict[str, dict[str, int]] = {}
        self.events = 0

    @property
    def transaction(self) -> Transaction:
        return cast(Transaction, self)

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Any = None,
    ) -> None:
        self.sent.append(Sent(topic, value, key, partition, headers))

    def count(self, namespace: str, name: str, number: int = 1) -> None:
        into = self.counts.setdefault(namespace, {})
        into[name] = into.get(name, 0) + number

    def read(self, events: int) -> None:
        self.events += events

    def to(self, topic: str) -> list[Sent]:
        return [one for one in self.sent if one.topic == topic]


def chunk_of(
    topic: str, values: Sequence[bytes | None] | Mapping[int, bytes | None], partition: int = 0
) -> Chunk:
    """A chunk of these values, at offsets 0, 1, ... or at the given ones."""
    numbered = values if isinstance(values, Mapping) else dict(enumerate(values))
    records = [FakeRecord(offset, value) for offset, value in numbered.items()]
    return Chunk(topic, partition, records[0].offset, records[-1].offset + 1, records, 1)
