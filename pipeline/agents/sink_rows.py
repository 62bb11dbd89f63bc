"""Rows of the sink's input topics for ClickHouse: records are collected, written and proved together.

Owns: which topic's records become rows of which table, and the order in which tables are written.
Does not own: a row's columns (stores.clickhouse.rows), the proof (stores.clickhouse.proof), when to write (sink,
sink_rebuild).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.core.metering.backfill import is_mark
from pipeline.core.values.json_value import reader_of
from pipeline.engine.chunk import RecordContent
from pipeline.engine.crash_points import reach
from pipeline.engine.unreadable import skip
from pipeline.errors import Rejected
from pipeline.records import Event, Settled, StripeUsage, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.proof import insert, new_insert_id, prove, rows_of
from pipeline.stores.clickhouse.rows import (
    is_rejected,
    mark_columns,
    rejected_columns,
    settled_columns,
    stripe_columns,
    unique_columns,
    window_columns,
)

INPUTS = ("events-settled", "duplicates", "rejected", "usage", "stripe-usage")
# In these topics, a record with a key is a barrier.
MARKED = frozenset({"events-settled", "usage"})

_settled = reader_of(list[Settled])
_windows = reader_of(list[Window])
_stripe = reader_of(list[StripeUsage])


@dataclass
class RowBatch:
    """The rows of one write. newest_received_at_ms: about when its newest event was received; None without events."""

    settled: list[Settled] = field(default_factory=list)
    rejected: list[tuple[bytes | None, tuple[tuple[str, bytes | None], ...]]] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    stripe: list[StripeUsage] = field(default_factory=list)
    marks: list[tuple[str, str, int]] = field(default_factory=list)
    newest_received_at_ms: int | None = None

    def __len__(self) -> int:
        return len(self.settled) + len(self.rejected) + len(self.windows) + len(self.stripe)

    def take(self, topic: str, partition: int, records: Iterable[RecordContent]) -> int:
        """Add records of one partition of INPUTS; returns how many events or windows they held."""
        before = len(self)
        for record in records:
            try:
                self._take(topic, partition, record)
            except Rejected as refusal:
                skip(topic, partition, record.offset, refusal)
        return len(self) - before

    def _take(self, topic: str, partition: int, record: RecordContent) -> None:
        """Add a record. Raises Rejected for one that Tallymark did not write."""
        if topic in MARKED and record.key is not None and is_mark(record.key):
            self.marks.append((record.key.decode(), topic, partition))
        elif topic == "rejected":
            if not is_rejected(record.headers):
                raise Rejected("bad-record", "It lacks the headers of a rejected record.")
            self.rejected.append((record.value, tuple(record.headers)))
        elif topic == "usage":
            self.windows += _windows(record.value)
            if self.windows:
                self._received(self.windows[-1].received_at_ms)
        elif topic == "stripe-usage":
            self.stripe += _stripe(record.value)
        else:
            self.settled += _settled(record.value)
            if self.settled and isinstance(event := self.settled[-1].event, Event):
                self._received(event.received_at_ms)

    def _received(self, at_ms: int) -> None:
        """Note when a record's last event was received; the others were received at about the same time."""
        self.newest_received_at_ms = max(at_ms, self.newest_received_at_ms or 0)

    def write(self, store: ClickHouse, now_ms: Callable[[], int]) -> dict[str, int]:
        """Write everything and prove that it is stored. Blocks.

        Returns:
            Rows by table.

        Raises:
            Unavailable: Nothing, a part or all of it is stored; write it again.
        """
        reach("sink.before-insert")
        stored_at_ms, insert_id = now_ms(), new_insert_id()
        # Members are written before their windows, which count their events: see stores.clickhouse.usage.
        settled = settled_columns(self.settled, stored_at_ms)
        rejected = rejected_columns(self.rejected, stored_at_ms)
        first = {
            "events": {name: values + rejected[name] for name, values in settled.items()},
            "uniques": unique_columns(self.windows),
        }
        insert(store, first, insert_id)
        reach("sink.half-inserted")
        windows = {
            "windows": window_columns(self.windows, stored_at_ms),
            "stripe_usage": stripe_columns(self.stripe, stored_at_ms),
        }
        insert(store, windows, insert_id)
        prove(store, first | windows, insert_id)
        # A stored barrier means that everything before it is stored, so it is written after the proof.
        marks = {"marks": mark_columns(self.marks)}
        insert(store, marks, insert_id)
        prove(store, marks, insert_id)
        reach("sink.after-insert")
        return {table: rows_of(columns) for table, columns in (first | windows | marks).items()}
