"""AGGREGATE: events in, minute windows and the fate of each event out.

Owns: which window an event counts in, each event's fate, what a record changes, what a replay emits again.
Does not own: folding within a record (combine), reading of data (extract), state bytes and keys (window_state),
storage, transactions, expiry (engine). The order of events never matters, but where a total reaches its limit:
a record is first gathered by window, then each window is read and written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.core.metering import window_state
from pipeline.core.metering.combine import Cell, CellKey, Group, combine
from pipeline.core.metering.extract import RULES, Extractor, MeterIndex
from pipeline.core.metering.refusal import FULL_WINDOW, Refusal, refused_name, sentence
from pipeline.core.values import number
from pipeline.core.values.table import KeyedBytes
from pipeline.core.values.time_window import MINUTE_S
from pipeline.records import Event, Refused, Settled, Window

NAMED_CHARACTERS = 64 << 10  # of sources and ids in one window; a packed record has to hold it
FULL = Refusal(FULL_WINDOW, "the total of this window would no longer fit 38 digits")
_NONE: list[Refused] = []
_UNNAMED: list[tuple[str, str, str]] = []


class Aggregated(NamedTuple):
    """settled: one for each event, in order. counts: namespace -> `read`, an outcome or a meter's total -> events."""

    settled: list[Settled]
    windows: list[Window]
    counts: dict[str, dict[str, int]]


def aggregate(
    events: Sequence[Event],
    position: int,
    index: MeterIndex,
    table: KeyedBytes,
    closed_before_s: int,
    revision: int,
) -> Aggregated:
    """Apply one packed record to the windows in `table`.

    Args:
        events: of the record, in order.
        position: the record's offset. A window that was changed by it, or by a later one, is only emitted again.
        index: the meters in force.
        table: the state of the windows.
        closed_before_s: in seconds since 1970; windows that start earlier have left the state, and their events are
            rejected as `window-closed`.
        revision: of the control log, written into each Settled.

    Returns:
        The fate of each event, the changed windows, the counts. Where a total would outgrow Decimal(38, 18), the events
        that do not fit are refused, in the record's order; a replay refuses the same.
    """
    settled: list[Settled | None] = [None] * len(events)
    closed_minute = max(0, -(-closed_before_s // MINUTE_S))
    windows: list[Window] = []
    counts: dict[str, dict[str, int]] = {}
    for group in _groups(events, index):
        tallied = counts.setdefault(group.namespace, {"read": 0})
        if group.plan is None:
            for place, event in zip(group.places, group.events, strict=True):
                settled[place] = Settled(event, "unmetered", "", [], revision, position=position + 1)
            _add(tallied, "unmetered", len(group.events))
            continue
        closed = group.open(closed_minute)
        for place, event in closed:
            settled[place] = Settled(event, "rejected", "window-closed", [], revision, position=position + 1)
        _add(tallied, "rejected:window-closed", len(closed))
        for reader in group.plan.readers:
            cells = combine(reader, group)
            if cells:
                windows += _apply(reader, group, cells, position, table)
        _settle(group, settled, tallied, revision, position + 1)
    return Aggregated(settled, windows, counts)  # type: ignore[arg-type]  # every place has been filled


def _groups(events: Sequence[Event], index: MeterIndex) -> list[Group]:
    """Events by type."""
    groups: dict[tuple[str, str], Group] = {}
    for place, event in enumerate(events):
        kind = (event.namespace, event.type)
        group = groups.get(kind)
        if group is None:
            group = groups[kind] = Group(event.namespace, index.get(*kind))
        group.places.append(place)
        group.events.append(event)
    return list(groups.values())


def _settle(
    group: Group, settled: list[Settled | None], tallied: dict[str, int], revision: int, position: int
) -> None:
    """The fate of each event that some meter wants, and what each meter counted and refused.

    position: as Settled has it.
    """
    assert group.plan is not None
    readers = group.plan.readers
    slugs = [reader.slug for reader in readers]
    refused = group.refused
    for place, event in zip(group.places, group.events, strict=True):
        if not refused or place not in refused:
            settled[place] = Settled(event, "counted", "", slugs, revision, None, RULES, _NONE, position)
            continue
        meters = [slug for slug in slugs if slug not in refused[place]]
        found = _refusals(readers, refused[place])
        fate: Any = "counted" if meters else "invalid" if found else "unmetered"
        settled[place] = Settled(event, fate, sentence(found), meters, revision, None, RULES, found, position)
        _add(tallied, fate, 1)
        for one in found:
            name = refused_name(one.meter, one.meter_id, one.reason)
            tallied[name] = tallied.get(name, 0) + 1
    _add(tallied, "counted", len(group.events) - len(refused))
    for reader in readers:
        passed_by = sum(1 for meters in refused.values() if reader.slug in meters)
        if taken := len(group.events) - passed_by:
            tallied[reader.counted] = taken


def _refusals(readers: Sequence[Extractor], refused: Mapping[str, Refusal]) -> list[Refused]:
    """Of the meters that want an event and cannot take it, by slug."""
    return [
        Refused(reader.meter.meter_id, reader.slug, why.reason, why.detail)
        for reader in readers
        if (why := refused.get(reader.slug)) is not None and why.reason
    ]


def _add(tallied: dict[str, int], name: str, events: int) -> None:
    if events:
        tallied[name] = tallied.get(name, 0) + events
        tallied["read"] += events


def _apply(
    reader: Extractor, group: Group, cells: dict[CellKey, Cell], position: int, table: KeyedBytes
) -> list[Window]:
    """Writes each window that the record touched once, and gives what to emit for it."""
    meter, names = reader.meter, reader.names
    namespace, slug, meter_id = meter.namespace, meter.slug, meter.meter_id
    aggregation = meter.aggregation
    identities = window_state.identities(namespace, meter_id, names, cells)
    keys = window_state.window_keys(cells, identities)
    stored = table.get_many(keys)
    members: list[list[str]] = [[]] * len(keys)
    if aggregation == "UNIQUE_COUNT":
        members = _members(cells, identities, position, table)
    full = _Full(reader, group, position, table)
    events = _events(reader, group) if reader.watched else {}
    # Subjects share few combinations of dimensions, so each is named once.
    named = {values: dict(zip(names, values, strict=True)) for values in {at[2] for at in cells}}
    windows = []
    advance, encode, decode = window_state.advance, window_state.encode_state, window_state.decode_state
    for key, value, brought, (at, cell) in zip(keys, stored, members, cells.items(), strict=True):
        state = None if value is None else decode(value)
        if state is None or state.position < position:
            grown = advance(aggregation, state, cell, position)
            if grown is None:
                grown = full.advance(at, state)
                if grown is None:
                    continue
            state = grown
            table.put(key, encode(state))
        elif aggregation in window_state.SUMMED and full.took_nothing(at, cell[0]):
            continue
        minute, subject, values = at
        windows.append(
            Window(
                namespace,
                slug,
                meter_id,
                subject,
                named[values],
                minute * MINUTE_S,
                state.value,
                state.count,
                state.change,
                state.order,
                brought,
                state.position,
                state.received_at_ms,
                0,
                events.get(at, _UNNAMED) if events else _UNNAMED,
            )
        )
    return windows


def _events(reader: Extractor, group: Group) -> dict[CellKey, list[tuple[str, str, str]]]:
    """Of each window, the events that the record brings: (source, id, value), in order. None of a huge window."""
    summed = reader.meter.aggregation in window_state.SUMMED
    by_place = dict(zip(group.places, group.events, strict=True))
    found: dict[CellKey, list[tuple[str, str, str]]] = {}
    for place, at, _, value in group.brought(reader):
        event = by_place[place]
        text = number.text(value) if summed else "1" if reader.meter.aggregation == "COUNT" else ""
        found.setdefault(at, []).append((event.source, event.id, text))
    return {
        at: named
        for at, named in found.items()
        if sum(len(source) + len(id) for source, id, _ in named) <= NAMED_CHARACTERS
    }


class _Full:
    """Windows of one meter whose total is at its limit: which events of the record they do not take.

    That depends on what the window held before the record. So it is kept beside the window, in the same atomic
    write, for replays that come after the window went on.
    """

    def __init__(self, reader: Extractor, group: Group, position: int, table: KeyedBytes) -> None:
        self._reader = reader
        self._group = group
        self._position = position
        self._table = table
        self._brought: dict[CellKey, list[tuple[int, int, int]]] = {}  # place, received_at_ms, value

    def advance(
        self, at: CellKey, before: window_state.WindowState | None
    ) -> window_state.WindowState | None:
        """The state with the events that fit, taken one by one; None if none does. Refuses the others."""
        if not self._brought:
            for place, at_, received_at_ms, value in self._group.brought(self._reader):
                self._brought.setdefault(at_, []).append((place, received_at_ms, value))
        total = 0 if before is None else number.exact(before.value)
        cell: Cell = [0, 0, 0]
        refused = []
        for place, received_at_ms, value in self._brought[at]:
            if number.fits(total + cell[2] + value):
                cell = [cell[0] + 1, max(cell[1], received_at_ms), cell[2] + value]
            else:
                refused.append(place)
        self._table.put(self._key(at), window_state.encode_places(refused))
        self._refuse(refused)
        return (
            window_state.advance(self._reader.meter.aggregation, before, cell, self._position)
            if cell[0]
            else None
        )

    def took_nothing(self, at: CellKey, events: int) -> bool:
        """On a replay: refuses what was refused then; whether that was all the events."""
        (stored,) = self._table.get_many([self._key(at)])
        refused = [] if stored is None else window_state.decode_places(stored)
        self._refuse(refused)
        return len(refused) == events

    def _key(self, at: CellKey) -> bytes:
        meter = self._reader.meter
        (identity,) = window_state.identities(meter.namespace, meter.meter_id, self._reader.names, [at])
        return window_state.refused_key(at[0], identity, self._position)

    def _refuse(self, places: list[int]) -> None:
        for place in places:
            self._group.refuse(place, self._reader, FULL)


def _members(
    cells: dict[CellKey, Cell], identities: list[bytes], position: int, table: KeyedBytes
) -> list[list[str]]:
    """Of each cell, the members that this record brought, sorted; the cell's value becomes their number.

    A member first seen at this position is new again: after a torn write its window may not have it yet.
    """
    digests = [sorted(map(window_state.member_digest, cell[2])) for cell in cells.values()]
    keys = [
        key
        for at, identity, found in zip(cells, identities, digests, strict=True)
        for key in window_state.member_keys(at[0], identity, found)
    ]
    firsts = iter(zip(keys, table.get_many(keys), strict=True))
    brought = []
    for cell, found in zip(cells.values(), digests, strict=True):
        new = []
        for digest, (key, first) in zip(found, firsts, strict=False):
            if first is None or window_state.decode_first(first) >= position:
                table.put(key, window_state.encode_first(position))
                new.append(digest.hex())
        cell[2] = len(new)
        brought.append(new)
    return brought
