"""One topic as its file in `topics/` declares it. Owns: its shape. Does not own: reading the file (topics)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Topic:
    """One declared topic.

    `packed`: a record holds a list. `namespace`: the tenant of what outsiders write to it; None: inner topic.
    `config`: further Kafka topic configuration. `retention_ms` is -1 for ever. `resizable`: it may have any number of
    partitions. `if_lost`: what it costs to make the topic anew when it was lost; empty: it cannot be made anew.
    """

    name: str
    holds: str
    key: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int
    sharded: bool
    retention_ms: int
    cleanup: Literal["delete", "compact"]
    packed: bool = False
    namespace: str | None = None
    resizable: bool = False
    if_lost: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
