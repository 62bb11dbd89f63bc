"""How a table's changes travel on its changelog topic.

Owns: the two formats, one record per key (compacted topics) and one record per chunk (topics with retention).
Does not own: the topic or the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pipeline.engine.table import Item

Pair = tuple[bytes | None, bytes | None]  # key and value of a Kafka record


def _record_per_key(changes: Mapping[bytes, bytes | None]) -> Iterable[Pair]:
    return changes.items()


def _key_and_value(key: bytes | None, value: bytes | None) -> Iterable[Item]:
    return ((key, value),) if key is not None else ()


@dataclass(frozen=True, slots=True)
class Changelog:
    """A table's changelog topic: `pack` turns a chunk's changes into records, `unpack` a record into changes."""

    topic: str
    pack: Callable[[Mapping[bytes, bytes | None]], Iterable[Pair]] = _record_per_key
    unpack: Callable[[bytes | None, bytes | None], Iterable[Item]] = _key_and_value
