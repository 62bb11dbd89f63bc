"""One topic as its file in `topics/` declares it. Owns: its shape. Does not own: reading the file (topics)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Topic:
    """One declared topic.

    `packed`: a record holds a list. `namespace`: the tenant of an input topic; None: an inner topic.
    `config`: additional Kafka topic configuration. `retention_ms` is -1 for ever. `resizable`: any number of partitions
    is allowed. `raisable`: `tallymark topics raise` can raise their number. `if_lost`: the loss when the topic is
    recreated; empty: it cannot be recreated on its own.
    `record_version`: of the form of its records. It grows when the release before could not read what this one writes.
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
    raisable: bool = False
    if_lost: str = ""
    record_version: int = 1
    config: Mapping[str, str] = field(default_factory=dict)
