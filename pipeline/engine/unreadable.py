"""Records that do not have the form of their topic: a stage or a view skips them and continues.

Owns: skipping such a record, its log line and its metric. Does not own: the form of a topic's records (the readers
that core.json_value.reader_of makes).

Kafka checks every byte, and every record that Tallymark has written can be decoded for ever. So a record that cannot be
decoded was written by another program, and skipping it makes no number wrong. It stays in its topic, and the log names
its offset.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import Counter

from pipeline.engine.chunk import Chunk, Record
from pipeline.errors import Rejected

T = TypeVar("T")

UNREADABLE = Counter(
    "tallymark_unreadable_records_total",
    "records of inner topics that were skipped because Tallymark cannot decode them",
    ["topic"],
)
log = logging.getLogger("tallymark.engine")


def read(chunk: Chunk, record: Record, reader: Callable[[bytes | None], T]) -> T | None:
    """The decoded record of a chunk, or None when `reader` refuses it and it is skipped."""
    try:
        return reader(record.value)
    except Rejected as refusal:
        skip(chunk.topic, chunk.partition, record.offset, refusal)
        return None


def skip(topic: str, partition: int, offset: int, refusal: Rejected) -> None:
    """Count a record that is skipped, and log why."""
    UNREADABLE.labels(topic).inc()
    log.error("skipping the record of %s/%d at offset %d: %s", topic, partition, offset, refusal.detail)
