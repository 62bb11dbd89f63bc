"""A chunk: the records of one fetch of one partition, handed to an agent as a single Faust message.

Owns the shape of a chunk. Does not own fetching (transport) or what a chunk becomes (agents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Record(Protocol):
    """What the engine and the agents use of aiokafka's ConsumerRecord."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # ms, the broker's
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Position(NamedTuple):
    """One input partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition, in offset order, that came in one fetch.

    `start` is where the fetch began and `next` where the following one will: between them nothing else is readable,
    so a chunk whose `start` is not the partition's position was fetched before a change of owner and is dropped.
    """

    topic: str
    partition: int
    start: int
    next: int
    records: Sequence[Record]
    generation: int

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition)
