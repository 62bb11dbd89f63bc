"""AGGREGATE: counts events into minute windows and settles the fate of each.

Reads `events-unique`; `control` for the meters. Writes `usage` and `events-settled`, packed, to the same partition.
Keeps: windows and unique members until they can no longer change (RocksDB; `aggregate-changelog`), counts.
On replay: a window that includes a record is not changed by it again, and is emitted again.
A record with a key is a barrier (core.definitions.barrier, agents.barriers); it is passed on after the chunk's windows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import faust
import msgspec
from prometheus_client import Counter

from pipeline.agents.barriers import begin, keep
from pipeline.agents.definitions import MetersInForce
from pipeline.core.metering.aggregate import aggregate as count
from pipeline.core.metering.backfill import is_mark
from pipeline.core.metering.refusal import MeterTotal, total_of
from pipeline.core.metering.window_state import key_start_s
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.sweep import SweepProgress, sweep
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.packing import PACK_BYTES, arrays
from pipeline.engine.stage import Stage
from pipeline.engine.table import Overlay
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import Event, Settled, Window

NAME = "aggregate"
CHANGELOG = Changelog("aggregate-changelog")

HOUR_S = 3600
LATENESS_S = 3 * 24 * HOUR_S  # how long an accepted event may wait in topics before its window is closed
EXPIRED_KEYS = 5_000  # removed per chunk
RUN_ITEMS = 256  # encoded in one call
CLOSED_BEFORE = b"\xff\xfeclosed-before"  # sorts after every window, like barriers.LEAST_REVISION

RefusedEvents = tuple[str, MeterTotal, int]  # namespace, meter and reason, events

MOST_METERS = 200  # meters with their own label in REFUSED; events of others are under OTHER_METERS
OTHER_METERS = "(other)"
REFUSED = Counter(
    "tallymark_refused_total",
    "events that matched a meter but were refused by it, so that their usage is missing from that meter",
    ["namespace", "meter", "reason"],
)

_named: set[tuple[str, str]] = set()
_events = reader_of(list[Event])
_encode = msgspec.json.Encoder().encode
_instant = struct.Struct(">q")


def create(stage: Stage, meters: MetersInForce, horizon_s: int) -> None:
    """horizon_s: how old an event may be when it is received."""
    closing = Closing(horizon_s + LATENESS_S)

    async def aggregate(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await begin(stage, chunk, lambda: meters()[1])) is not None:
                fill(transaction, meters, closing)
                transaction.commit()

    stage.agent("events-unique")(aggregate)


def fill(transaction: Transaction, meters: MetersInForce, closing: Closing) -> None:
    """Count each packed record of the chunk once."""
    chunk, table = transaction.chunk, transaction.table
    index, revision = meters()
    settled: list[Settled] = []
    windows: list[Window] = []
    newest_ms = 0
    closed_before_s = closing.before_s(table)
    marks: list[bytes] = []
    refused: list[RefusedEvents] = []
    for record in chunk.records:
        if record.key is not None and is_mark(record.key):
            marks.append(record.key)
            continue
        events = read(chunk, record, _events)
        if events is None:
            continue
        outcome = count(events, record.offset, index, table, closed_before_s, revision)
        settled += outcome.settled
        windows += outcome.windows
        newest_ms = max(newest_ms, max((event.received_at_ms for event in events), default=0))
        transaction.read(len(events))
        if record.offset > transaction.counted_offset:
            for namespace, names in outcome.counts.items():
                for name, number in names.items():
                    transaction.count(namespace, name, number)
                refused += refused_in(namespace, names)
    for packed in _packed(settled):
        transaction.send("events-settled", packed, partition=chunk.partition)
    for packed in _packed(windows):
        transaction.send("usage", packed, partition=chunk.partition)
    for mark in marks:  # after the output of earlier chunks
        transaction.send("events-settled", b"[]", key=mark, partition=chunk.partition)
    if marks:
        keep(transaction)
    if refused:
        transaction.on_committed(lambda: observe_refused(refused))
    closing.advance(table, chunk.partition, newest_ms // 1000)


def refused_in(namespace: str, names: Mapping[str, int]) -> list[RefusedEvents]:
    """The refusals in a set of counts."""
    totals = [(total_of(name), events) for name, events in names.items()]
    return [(namespace, total, events) for total, events in totals if total is not None and total.reason]


def observe_refused(refused: Sequence[RefusedEvents]) -> None:
    """Count refused events of a committed chunk. At most MOST_METERS meters get their own labels."""
    for namespace, total, events in refused:
        meter = (namespace, total.slug)
        if meter not in _named and len(_named) >= MOST_METERS:
            meter = ("", OTHER_METERS)
        else:
            _named.add(meter)
        REFUSED.labels(*meter, total.reason).inc(events)


def _packed(items: Sequence[object]) -> Iterator[bytes]:
    """Packed records of these items, in order. Runs of items are encoded in one call, which takes half the time."""
    runs = (items[start : start + RUN_ITEMS] for start in range(0, len(items), RUN_ITEMS))
    return arrays([part for run in runs for part in _parts(run)])


def _parts(items: Sequence[object]) -> Iterator[bytes]:
    """The items as JSON, comma separated, split where they are too long for a record."""
    encoded = _encode(items)
    if len(encoded) <= PACK_BYTES or len(items) == 1:
        yield encoded[1:-1]
    else:
        middle = len(items) // 2
        yield from _parts(items[:middle])
        yield from _parts(items[middle:])


class Closing:
    """When windows leave the state. The instant is in the state: a window that left must never restart from zero."""

    def __init__(self, age_s: int) -> None:
        self._age_s = age_s
        self._progress = SweepProgress(rest=1)  # until more windows are closed

    def before_s(self, table: Overlay) -> int:
        """The instant: windows that start earlier have left the state."""
        (stored,) = table.get_many([CLOSED_BEFORE])
        return 0 if stored is None else int(_instant.unpack(stored)[0])

    def advance(self, table: Overlay, partition: int, now_s: int) -> None:
        """Close whole hours that are too old at `now_s`, the broker's time, and remove some closed windows."""
        closed_s = self.before_s(table)
        wanted_s = (now_s - self._age_s) // HOUR_S * HOUR_S
        if wanted_s > closed_s:
            # The windows that this chunk wrote are swept with the next chunk, when they are committed.
            table.put(CLOSED_BEFORE, _instant.pack(wanted_s))
            return

        def is_open(key: bytes) -> bool:
            return key_start_s(key) >= closed_s

        self._progress.advance(
            partition, closed_s, lambda start: sweep(table, EXPIRED_KEYS, start=start, is_young=is_open)
        )
