"""A meter made later sees stored events: what a backfill reads, counts and changes, step by step.

Owns: which steps there are and what follows each, what a meter makes of stored events, the fate that an event has
afterwards, and the locks that keep a step from being taken twice. Does not own: reading stored events
(stores.clickhouse.backfill), moving records (agents.backfill), counting itself (aggregate).

The cut: a mark in each partition of `events-unique`. Aggregate passes it on only once it knows the meter, so behind
the mark every event is decided with the meter in force. Each event keeps the control revision of its decision: at or
above the meter's id it was counted as it came, below it is backfilled. When ClickHouse holds the mark of each partition
it holds every event decided before.

Backfills of the same events go one after the other, in the order of their meters, and each begins only when
what the one before changed is stored: it reads the newest fate of every event and adds to it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import msgspec

from pipeline.core.definitions.barrier import end_barrier, start_barrier
from pipeline.core.metering import window_state
from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.extract import RULES, MeterIndex
from pipeline.core.metering.meter import Meter, define
from pipeline.core.metering.refusal import counted_name, refused_name
from pipeline.core.values.sweep import sweep
from pipeline.core.values.table import KeyedBytes, ScannedBytes
from pipeline.core.values.time_window import MINUTE_S
from pipeline.records import Backfill, Backfilled, Definition, Event, Fate, Refused, Settled, Window

PART = 1  # of windows that a backfill counted
FINISHED = frozenset({"done", "stopped"})
LEFT = "left"  # the outcome of an event that the meter does not want
CLEARED_KEYS = 100_000  # checked in one step; two pages of events write fewer

_lock_key = struct.Struct(">cQ")
_encode = msgspec.msgpack.Encoder().encode
_lock = msgspec.msgpack.Decoder(tuple[int, int]).decode
_queue = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode
_work = msgspec.msgpack.Decoder(Backfill).decode
_json = msgspec.json.Encoder().encode


class BackfillEvent(NamedTuple):
    """An event as it is stored, with its newest fate. before, backfilled and their rules: see records.Backfilled."""

    event: Event
    fate: Fate
    reason: str
    meters: list[str]
    revision: int
    decided: int
    before: str
    backfilled: list[int]
    backfilled_rules: list[int]
    rules: int
    refused: list[Refused]
    position: int = 0
    backfilled_positions: Sequence[int] = ()


class BackfillPage(NamedTuple):
    """Stored events in the order of their time. cursor: None behind the last one. events: of the whole backfill."""

    events: list[BackfillEvent]
    cursor: tuple[int, str, int, int] | None
    span_s: int
    total: int


class BackfillInput(NamedTuple):
    """What a step needs to know from outside. `page` is None where it is not to be read now.

    known: the meter's definition has reached this worker. deleted: and the meter is gone since. landed: ClickHouse
    holds the marks that the step waits for.
    """

    known: bool = False
    deleted: bool = False
    landed: bool = False
    page: BackfillPage | None = None


@dataclass
class BackfillStep:
    """What one step becomes. marks: topic, partition and mark.

    moves: `before>after` or `left` -> events. totals: a name of the meter in Counts (core.metering.refusal) -> events.
    """

    following: list[Backfill] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    moves: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    marks: list[tuple[str, int, bytes]] = field(default_factory=list)
    read: int = 0


def seeds(definition: Definition, shards: int) -> list[Backfill]:
    """The first step of each shard if the definition makes a new meter, else none."""
    meter = Meter.of(definition)
    if meter is None or meter.meter_id != definition.revision:
        return []
    namespace, at_ms = definition.namespace, definition.at_ms
    return [
        Backfill(namespace, meter.slug, meter.meter_id, meter.body(), shard, shards, at_ms=at_ms)
        for shard in range(shards)
    ]


def key_of(work: Backfill) -> bytes:
    """The record key on `backfill-work`."""
    return f"{work.meter_id}/{work.shard}".encode()


_MARK = re.compile(rb"meter/\d{1,18}/(?:start|end/\d{1,9})|seed/\d{1,18}/[0-9a-z]{1,64}").fullmatch


def is_mark(key: bytes) -> bool:
    """Whether a record with this key is a mark; a producer that writes to a wrong topic has keys of its own."""
    return _MARK(key) is not None


def mark_revision(mark: bytes) -> int:
    """The control revision that a stage must know before it forwards the mark."""
    return int(mark.split(b"/")[1])


def meter_of(work: Backfill) -> Meter:
    """The meter as it was made: a later change of its dimensions changes nothing that a backfill counts."""
    return _compiled(work.namespace, work.meter_id, _json(work.definition))[0]


def take(
    work: Backfill, position: int, table: ScannedBytes, found: BackfillInput, at_ms: int
) -> BackfillStep | None:
    """Do one step of a backfill.

    Args:
        work: the step, as read from `backfill-work`.
        position: its offset.
        table: the state.
        found: what the step needs from outside: a page of stored events, and how far the other stages are.
        at_ms: the broker's time of the record, in ms since 1970.

    Returns:
        What the step writes, the same for the same record; None where a record at another offset did the step before.
    """
    if not _admit(work, position, table):
        return None
    work = msgspec.structs.replace(work, step=work.step + 1, at_ms=at_ms)
    if work.state == "new":
        return _enqueue(work, table) if found.known else BackfillStep([work])
    if work.state == "waiting":
        return _wait(work, table, found)
    if work.state == "copying":
        return _copy(work, position, table, found)
    if work.state == "landing":
        _clear(work, table, None)
        return _finish(work, table) if found.landed else BackfillStep([work])
    return BackfillStep()


def _admit(work: Backfill, position: int, table: KeyedBytes) -> bool:
    """A torn transaction may leave a step twice on the topic: only the first one is done."""
    key = _lock_key.pack(b"L", work.meter_id)
    (stored,) = table.get_many([key])
    if stored is not None:
        step, at = _lock(stored)
        if work.step < step or (work.step == step and position != at):
            return False
    table.put(key, _encode((work.step, position)))
    return True


def _enqueue(work: Backfill, table: KeyedBytes) -> BackfillStep:
    """The meter waits for those that count the same events; its barrier is written at once."""
    waiting = msgspec.structs.replace(work, state="waiting")
    queue = _queued(work, table)
    if all(meter_id != work.meter_id for meter_id, _ in queue):
        queue.append((work.meter_id, _encode(waiting) if queue else b""))
        table.put(_queue_key(work), _encode(queue))
    first = queue[0][0] == work.meter_id
    mark = ("events-unique", work.shard, start_barrier(work.meter_id))
    return BackfillStep([waiting] if first else [], marks=[mark])


def _wait(work: Backfill, table: KeyedBytes, found: BackfillInput) -> BackfillStep:
    queue = _queued(work, table)
    if queue and queue[0] != (work.meter_id, b""):
        table.put(_queue_key(work), _encode([(work.meter_id, b""), *queue[1:]]))
    if found.deleted:
        return _finish(msgspec.structs.replace(work, stopped=True), table)
    return BackfillStep([msgspec.structs.replace(work, state="copying") if found.landed else work])


def _copy(work: Backfill, position: int, table: ScannedBytes, found: BackfillInput) -> BackfillStep:
    if found.deleted:
        return _land(BackfillStep(), msgspec.structs.replace(work, stopped=True))
    if found.page is None:
        return BackfillStep([work])
    page = found.page
    _clear(work, table, None if work.cursor is None else work.cursor[0] // MINUTE_S)
    made = count(page.events, position, meter_of(work), _Own(work.meter_id, table))
    made.read = len(page.events)
    counted = sum(1 for one in made.settled if one.backfill and work.meter_id in one.backfill.meters)
    work = msgspec.structs.replace(
        work,
        cursor=page.cursor or work.cursor,
        span_s=page.span_s,
        events=page.total,
        read=work.read + len(page.events),
        counted=work.counted + counted,
    )
    if page.cursor is None:
        return _land(made, work)
    made.following.append(work)
    return made


def _land(made: BackfillStep, work: Backfill) -> BackfillStep:
    mark = end_barrier(work.meter_id, work.shard)
    topics = ("events-settled", "usage")
    made.marks += [(topic, partition, mark) for topic in topics for partition in range(work.shards)]
    made.following.append(msgspec.structs.replace(work, state="landing"))
    return made


def _finish(work: Backfill, table: KeyedBytes) -> BackfillStep:
    """The next meter of the same events may begin."""
    left = [entry for entry in _queued(work, table) if entry[0] != work.meter_id]
    if left:
        table.put(_queue_key(work), _encode(left))
    else:
        table.delete(_queue_key(work))
    finished = msgspec.structs.replace(work, state="stopped" if work.stopped else "done")
    return BackfillStep([finished, *([_work(left[0][1])] if left and left[0][1] else [])])


def count(events: Sequence[BackfillEvent], position: int, meter: Meter, table: KeyedBytes) -> BackfillStep:
    """What one meter makes of stored events: its windows, and the events whose fate that changes."""
    _, index = _compiled(meter.namespace, meter.meter_id, _json(meter.body()))
    outcome = aggregate([one.event for one in events], position, index, table, 0, meter.meter_id)
    made = BackfillStep(windows=[msgspec.structs.replace(window, part=PART) for window in outcome.windows])
    for stored, found in zip(events, outcome.settled, strict=True):
        changed = _changed(stored, found, meter)
        move = LEFT
        if changed is not None and changed.backfill is not None:
            made.settled.append(changed)
            move = f"{changed.backfill.before}>{changed.fate}"
            total = _total(changed, found, meter)
            made.totals[total] = made.totals.get(total, 0) + 1
        made.moves[move] = made.moves.get(move, 0) + 1
    return made


def _changed(stored: BackfillEvent, found: Settled, meter: Meter) -> Settled | None:
    """The event's fate with what the meter made of it; None where the meter does not want the event."""
    back = Backfilled(
        stored.decided,
        stored.before,  # type: ignore[arg-type]  # what was stored was a fate
        stored.backfilled,
        stored.backfilled_rules,
        list(stored.backfilled_positions),
    )
    settled = Settled(
        stored.event,
        stored.fate,
        stored.reason,
        stored.meters,
        stored.revision,
        back,
        stored.rules,
        stored.refused,
        stored.position,
    )
    if stored.revision >= meter.meter_id:  # read again after what this backfill changed is stored already
        return settled
    if found.fate == "unmetered":
        return None
    back.before, settled.revision = stored.fate, meter.meter_id
    if found.fate == "counted":
        settled.fate, settled.meters = "counted", [*stored.meters, meter.slug]
        many = len(stored.backfilled)
        back.meters = [*stored.backfilled, meter.meter_id]
        back.rules = [*_filled(stored.backfilled_rules, many), RULES]
        back.positions = [*_filled(stored.backfilled_positions, many), found.position]
    else:
        settled.fate = "invalid" if stored.fate == "unmetered" else stored.fate
        settled.reason = f"{stored.reason}; {found.reason}" if stored.reason else found.reason
        settled.refused = [*stored.refused, *found.refused]
    return settled


def _filled(known: Sequence[int], many: int) -> list[int]:
    """A list with zeros for what rows of older versions lack."""
    return [*known, *[0] * (many - len(known))]


def _total(changed: Settled, found: Settled, meter: Meter) -> str:
    """The name in Counts of what the meter made of an event that a backfill changed."""
    if changed.backfill is not None and meter.meter_id in changed.backfill.meters:
        return counted_name(meter)
    refused = (*changed.refused, *found.refused)  # rows of older versions have none
    reason = next(one.reason for one in refused if one.meter_id == meter.meter_id)
    return refused_name(meter.slug, meter.meter_id, reason)


class _Own:
    """The windows of one backfill, apart from those of others: they start with its meter's id."""

    def __init__(self, meter_id: int, table: KeyedBytes) -> None:
        self._prefix = _lock_key.pack(b"W", meter_id)
        self._table = table

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return self._table.get_many([self._prefix + key for key in keys])

    def put(self, key: bytes, value: bytes) -> None:
        self._table.put(self._prefix + key, value)

    def delete(self, key: bytes) -> None:
        self._table.delete(self._prefix + key)


def _clear(work: Backfill, table: ScannedBytes, before_minute: int | None) -> None:
    """Removes windows that no event can reach any more: events come in the order of their time.

    Those that the step before wrote in its last minute stay, and what it wrote earlier goes only now, so that it
    could be taken again. None: whatever the backfill has kept.
    """
    prefix = _lock_key.pack(b"W", work.meter_id)

    def is_reachable(key: bytes) -> bool:
        if before_minute is None:
            return False
        return window_state.key_start_s(key[len(prefix) :]) >= before_minute * MINUTE_S

    sweep(table, CLEARED_KEYS, prefix=prefix, is_young=is_reachable)


def _queue_key(work: Backfill) -> bytes:
    return b"Q" + _encode((work.namespace, work.definition["eventType"]))


def _queued(work: Backfill, table: KeyedBytes) -> list[tuple[int, bytes]]:
    """(meter id, its next step where it was put aside) of the meters that are made of the same events, in turn."""
    (stored,) = table.get_many([_queue_key(work)])
    return [] if stored is None else _queue(stored)


@lru_cache(maxsize=256)
def _compiled(namespace: str, meter_id: int, definition: bytes) -> tuple[Meter, MeterIndex]:
    meter = define(msgspec.json.decode(definition), meter_id, namespace)
    return meter, MeterIndex([meter])


class Progress(NamedTuple):
    """How far the backfill of one meter is. state: waiting, copying, landing, done, stopped; `none` without one."""

    state: str
    events: int
    read: int
    counted: int


def progress(steps: Sequence[Backfill]) -> Progress:
    """Of all shards together. A meter that was made before there were backfills has no steps."""
    states = {step.state for step in steps}
    state = "waiting"
    if states <= FINISHED:
        state = "none" if not steps else "stopped" if "stopped" in states else "done"
    elif "copying" in states or ("waiting" in states and not states <= {"new", "waiting"}):
        state = "copying"
    elif states <= {"landing", *FINISHED}:
        state = "landing"
    return Progress(
        state,
        sum(step.events for step in steps),
        sum(step.read for step in steps),
        sum(step.counted for step in steps),
    )


def steps_of(steps: Mapping[str, Backfill], meter_id: int) -> list[Backfill]:
    """The newest step of each shard of a meter's backfill, by shard, from `backfill-work` by key."""
    return sorted((one for one in steps.values() if one.meter_id == meter_id), key=lambda one: one.shard)
