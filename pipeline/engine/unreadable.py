"""Records that are none of their topic's: no stage and no view stops for one.

Owns: passing such a record over, the line in the log, the count. Does not own: what a record of a topic is (the readers
that core.json_value.reader_of makes).

Kafka checks every byte, and what Tallymark has written decodes for ever. So a record that does not decode was written
by somebody else, and no number is wrong without it. It stays in its topic, at the place that the log names.
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
    "records of inner topics that Tallymark did not write and that were passed over",
    ["topic"],
)
log = logging.getLogger("tallymark.engine")


def read(chunk: Chunk, record: Record, reader: Callable[[bytes | None], T]) -> T | None:
    """What a record of the chunk says; None where `reader` refuses it, and it is passed over."""
    try:
        return reader(record.value)
    except Rejected as refusal:
        pass_over(chunk.topic, chunk.partition, record.offset, refusal)
        return None


def pass_over(topic: str, partition: int, offset: int, refusal: Rejected) -> None:
    """Notes that a record is left out, and why."""
    UNREADABLE.labels(topic).inc()
    log.error("the record %s/%d at offset %d is passed over. %s", topic, partition, offset, refusal.detail)
