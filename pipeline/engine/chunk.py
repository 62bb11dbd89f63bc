"""A chunk: the records of one fetch of one partition, delivered to an agent as a single Faust message.

Owns: the shape of a chunk. Does not own: fetching (transport) or processing a chunk (agents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class RecordContent(Protocol):
    """The members of a Kafka record that do not depend on when it is read."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Record(RecordContent, Protocol):
    """The members of aiokafka's parsed records that the engine and the agents use."""

    @property
    def timestamp(self) -> int: ...  # ms, broker time


@dataclass(frozen=True, slots=True)
class MovedRecord:
    """A record at another offset: its topic was created again, and its offsets continue those of the former one."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int


def moved(record: Record, by: int) -> MovedRecord:
    """The record with its offset plus `by`."""
    return MovedRecord(record.offset + by, record.key, record.value, record.headers, record.timestamp)


class Position(NamedTuple):
    """One input partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition from one fetch, in offset order.

    The fetch covers the offsets [start, next). A chunk whose `start` is not the partition's position was fetched before
    a change of owner and is dropped.
    """

    topic: str
    partition: int
    start: int
    next: int
    records: list[Record]
    generation: int

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition)
