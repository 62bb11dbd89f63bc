"""The flow around a backfill without services: live counting that learns late, a sink that lags, stored rows.

Owns: queues in place of topics and a dict in place of ClickHouse. Live counting and backfilling are the real core.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from pipeline.core.definitions.barrier import end_mark, start_mark
from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.backfill import FINISHED, Found, Page, Step, Stored, seeds, take
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter, define
from pipeline.records import Backfill, Definition, Event, Settled, Window
from tests.agents.working import DictTable

PAGE = 2
SHARDS = 2
Item = Settled | Window | bytes  # bytes: a mark
Place = tuple[int, str, int, int]
WindowKey = tuple[int, str, tuple[tuple[str, str], ...], int]


@dataclass
class World:
    """definitions: of the control log. known: how much of it live counting knows."""

    meters: list[Meter] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)
    revision: int = 0
    known: int = 0
    live: DictTable = field(default_factory=DictTable)
    position: int = 0
    tables: list[DictTable] = field(default_factory=lambda: [DictTable() for _ in range(SHARDS)])
    work: list[list[Backfill]] = field(default_factory=lambda: [[] for _ in range(SHARDS)])
    done: list[int] = field(default_factory=lambda: [0] * SHARDS)
    lines: list[deque[Item]] = field(default_factory=lambda: [deque() for _ in range(SHARDS + 1)])
    rows: dict[Place, Settled] = field(default_factory=dict)
    windows: dict[tuple[WindowKey, int], Window] = field(default_factory=dict)
    members: dict[WindowKey, set[str]] = field(default_factory=dict)
    marks: set[tuple[int, bytes]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)

    def create(self, body: dict[str, object]) -> Meter:
        """Control decides: a definition, and the first steps of a backfill."""
        self.revision += 1
        meter = define(body, self.revision)
        self.meters.append(meter)
        stored = {**meter.body(), "meterId": meter.meter_id}
        definition = Definition(self.revision, "meter", "default", meter.slug, "", 0, stored)
        for seed in seeds(definition, SHARDS):
            self.work[seed.shard].append(seed)
        return meter

    def delete(self, meter: Meter) -> None:
        self.revision += 1
        self.deleted.add(meter.meter_id)

    def _index(self, revision: int) -> MeterIndex:
        gone = self.deleted if revision >= self.revision else set()
        return MeterIndex(m for m in self.meters if m.meter_id <= revision and m.meter_id not in gone)

    def receive(self, events: Sequence[Event]) -> None:
        """Live counting decides by the definitions that it happens to know."""
        self.events += events
        outcome = aggregate(events, self.position, self._index(self.known), self.live, 0, self.known)
        self.position += 1
        self.lines[SHARDS].extend([*outcome.settled, *outcome.windows])
        self.counts.update(outcome.counts.get("default", {}))

    def sink(self, line: int, items: int) -> None:
        """Stores some of what waits in one partition, in order."""
        for _ in range(min(items, len(self.lines[line]))):
            item = self.lines[line].popleft()
            if isinstance(item, bytes):
                self.marks.add((line, item))
            elif isinstance(item, Window):
                self._window(item)
            else:
                place = _place(event_of(item))
                if place not in self.rows or self.rows[place].revision <= item.revision:
                    self.rows[place] = item

    def _window(self, window: Window) -> None:
        key = (window.meter_id, window.subject, tuple(window.dimensions.items()), window.start_s)
        self.members.setdefault(key, set()).update(window.members)
        before = self.windows.get((key, window.part))
        if before is None or before.revision <= window.revision:
            self.windows[key, window.part] = window

    def step(self, shard: int, torn: bool, between: Callable[[], None]) -> bool:
        """One step of a shard's backfills; torn: it is kept but read again, and what it said is said twice."""
        if self.done[shard] == len(self.work[shard]):
            return False
        position = self.done[shard]
        work = self.work[shard][position]
        for again in (True, False) if torn else (False,):
            if work.state in FINISHED:
                break
            made = take(work, position, self.tables[shard], self._look(work), 0)
            if made is None:
                break
            self._say(shard, made, counted=not again)
            between()
        self.done[shard] += 1
        return True

    def _say(self, shard: int, made: Step, counted: bool) -> None:
        if counted:
            self.counts.update({name: number for name, number in made.moves.items() if number})
        self.lines[shard].extend([*made.settled, *made.windows])
        for topic, _, mark in made.marks:
            if topic == "events-unique":
                self.known = max(self.known, self.revision)  # whoever passes it on knows the definitions
                self.lines[SHARDS].append(mark)
            else:
                self.lines[shard].append(mark)
        self.work[shard] += made.following

    def _look(self, work: Backfill) -> Found:
        line, mark = (SHARDS, start_mark(work.meter_id))
        if work.state == "landing":
            line, mark = work.shard, end_mark(work.meter_id, work.shard)
        page = self._page(work) if work.state == "copying" else None
        return Found(True, work.meter_id in self.deleted, (line, mark) in self.marks, page)

    def _page(self, work: Backfill) -> Page:
        found = [
            (place, row)
            for place, row in sorted(self.rows.items())
            if place > (work.cursor or (0, "", 0, 0))
            and event_of(row).type == work.definition["eventType"]
            and _decided(row) < work.meter_id
            and crc32(event_of(row).subject.encode()) % SHARDS == work.shard
        ]
        taken = found[:PAGE]
        cursor = taken[-1][0] if len(found) > PAGE else None
        return Page([stored_of(row) for _, row in taken], cursor, 60, work.events or len(found))

    def finish(self) -> None:
        """Until nothing moves."""
        for _ in range(10_000):
            for line in range(SHARDS + 1):
                self.sink(line, 10**9)
            if not any([self.step(shard, False, lambda: None) for shard in range(SHARDS)]):
                return
        raise AssertionError("a backfill comes to no end")


def event_of(settled: Settled) -> Event:
    assert isinstance(settled.event, Event)
    return settled.event


def _place(event: Event) -> Place:
    return (event.time_ns // 10**9, event.input_topic, event.partition, event.offset)


def _decided(row: Settled) -> int:
    return row.revision if row.backfill is None else row.backfill.decided


def stored_of(row: Settled) -> Stored:
    back = row.backfill
    before, meters = ("", []) if back is None else (back.before, back.meters)
    return Stored(
        event_of(row), row.fate, row.reason, row.meters, row.revision, _decided(row), before, list(meters)
    )
