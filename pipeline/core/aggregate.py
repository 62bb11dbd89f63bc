"""AGGREGATE: events in, minute windows and the fate of each event out.

Owns: which window an event counts in, each event's fate, what a record changes, what a replay emits again.
Does not own: reading of data (reading), state bytes and keys (tally), storage, transactions, expiry (engine).
The order of events never matters: a record is first gathered by window, then each window is read and written
once. Work goes meter by meter over all events of a type, which is much faster than event by event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import msgspec

from pipeline.core import number, tally
from pipeline.core.meter import MAX_DIMENSIONS_CHARACTERS, Meter
from pipeline.core.reading import MeterIndex, Plan, Reader, unreadable
from pipeline.core.window import MINUTE_NS, MINUTE_S
from pipeline.errors import Broken, Rejected
from pipeline.records import Event, Settled, Window


class Table(Protocol):
    """Keyed bytes: an overlay over RocksDB, or a dict in tests."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...


class Outcome(NamedTuple):
    """settled: one for each event, in order. counts: namespace -> `read` or an outcome -> events."""

    settled: list[Settled]
    windows: list[Window]
    counts: dict[str, dict[str, int]]


class _Row(NamedTuple):
    """An event that some meter wants, with its decoded data. place: in the record."""

    place: int
    minute: int
    subject: str
    received_at_ms: int
    data: object
    event: Event


_At = tuple[int, str, tuple[str, ...]]  # minute, subject, dimensions: a window of one meter
_Cell = list[Any]  # what one record brings to one window: events, newest received_at_ms, folded value
_Cells = dict[_At, _Cell]
_Refused = dict[
    int, dict[str, str]
]  # place -> slug -> why it did not count; "" where the meter did not want it


class _Group:
    """The events of one (namespace, event type) within one record."""

    __slots__ = ("closed", "namespace", "plan", "refused", "rows", "unmetered")

    def __init__(self, namespace: str, plan: Plan | None) -> None:
        self.namespace = namespace
        self.plan = plan
        self.rows: list[_Row] = []
        self.refused: _Refused = {}
        self.unmetered = self.closed = 0


def aggregate(
    events: Sequence[Event],
    position: int,
    index: MeterIndex,
    table: Table,
    closed_before_s: int,
    revision: int,
) -> Outcome:
    """Applies one packed record to the windows in `table`.

    position: the record's offset; a window that has taken it, or a later one, is only emitted again.
    closed_before_s: windows that start earlier have left the state; their events are `window-closed`.
    revision: of the control log, noted in each Settled. Raises Broken if a total outgrows Decimal(38, 18).
    """
    settled: list[Settled | None] = [None] * len(events)
    groups = _group(events, settled, index, max(0, -(-closed_before_s // MINUTE_S)), revision)
    windows: list[Window] = []
    counts: dict[str, dict[str, int]] = {}
    for group in groups:
        tallied = counts.setdefault(group.namespace, {"read": 0})
        if group.plan is not None:
            for reader in group.plan.readers:
                cells = _gather(reader, group.rows, group.refused)
                if cells:
                    windows += _apply(reader, cells, position, table)
            _settle(group, settled, tallied, revision)
        _add(tallied, "unmetered", group.unmetered)
        _add(tallied, "rejected:window-closed", group.closed)
    return Outcome(settled, windows, counts)  # type: ignore[arg-type]  # every place has been filled


def _group(
    events: Sequence[Event],
    settled: list[Settled | None],
    index: MeterIndex,
    closed_minute: int,
    revision: int,
) -> list[_Group]:
    """Events by type, with their data decoded; settles those that no meter can count."""
    groups: dict[tuple[str, str], _Group] = {}
    for place, event in enumerate(events):
        kind = (event.namespace, event.type)
        group = groups.get(kind)
        if group is None:
            group = groups[kind] = _Group(event.namespace, index.get(*kind))
        plan = group.plan
        minute = event.time_ns // MINUTE_NS
        if plan is None:
            group.unmetered += 1
            settled[place] = Settled(event, "unmetered", "", [], revision)
        elif minute < closed_minute:
            group.closed += 1
            settled[place] = Settled(event, "rejected", "window-closed", [], revision)
        else:
            data = None
            if plan.decode is not None:
                try:
                    data = plan.decode(event.data)
                except (msgspec.DecodeError, RecursionError) as error:
                    why = unreadable(error)
                    group.refused[place] = {each.slug: why for each in plan.readers if each.needs_data}
            row = (
                place,
                minute,
                event.subject,
                event.received_at_ms,
                plan.empty if data is None else data,
                event,
            )
            group.rows.append(row)  # type: ignore[arg-type]  # a plain tuple is made three times as fast
    return list(groups.values())


def _gather(reader: Reader, rows: list[_Row], refused: _Refused) -> _Cells:
    """What the rows bring to each window of one meter. Adds to `refused` what it does not count."""
    cells: _Cells = {}
    slug, value_of, dimensions_of, from_ns = reader.slug, reader.value, reader.dimensions, reader.from_ns
    fold = tally.GATHER[reader.meter.aggregation]
    latest, unique = reader.meter.aggregation == "LATEST", reader.meter.aggregation == "UNIQUE_COUNT"
    names, get = reader.names, cells.get
    dimensions: tuple[str, ...] = ()
    value: Any = 1
    for place, minute, subject, received_at_ms, data, event in rows:
        if event.time_ns < from_ns:
            refused.setdefault(place, {})[slug] = ""
            continue
        if refused and slug in refused.get(place, ()):
            continue
        if value_of is not None:
            try:
                value = value_of(data)
            except Rejected as refusal:
                refused.setdefault(place, {})[slug] = refusal.detail
                continue
            if latest:
                value = (event.time_ns, received_at_ms, event.partition, event.offset), value
            elif unique:
                value = {value}
        if names:
            dimensions = dimensions_of(data)
        at = (minute, subject, dimensions)
        cell = get(at)
        if cell is not None:
            cell[0] += 1
            cell[2] = fold(cell[2], value)
            cell[1] = max(cell[1], received_at_ms)
        elif names and len("".join(dimensions)) > MAX_DIMENSIONS_CHARACTERS:
            why = f"group by values have more than {MAX_DIMENSIONS_CHARACTERS} characters together"
            refused.setdefault(place, {})[slug] = why
        else:
            cells[at] = [1, received_at_ms, value]
    return cells


def _settle(group: _Group, settled: list[Settled | None], tallied: dict[str, int], revision: int) -> None:
    """The fate of each event that some meter wants."""
    assert group.plan is not None
    slugs = [reader.slug for reader in group.plan.readers]
    refused = group.refused
    for row in group.rows:
        if row[0] not in refused:
            settled[row[0]] = Settled(row[5], "counted", "", slugs, revision)
    _add(tallied, "counted", len(group.rows) - len(refused))
    for place, _, _, _, _, event in (row for row in group.rows if row[0] in refused):
        meters = [slug for slug in slugs if slug not in refused[place]]
        reason = "; ".join(f"{slug}: {why}" for slug, why in refused[place].items() if why)
        fate: Any = "counted" if meters else "invalid" if reason else "unmetered"
        settled[place] = Settled(event, fate, reason, meters, revision)
        _add(tallied, fate, 1)


def _add(tallied: dict[str, int], name: str, events: int) -> None:
    if events:
        tallied[name] = tallied.get(name, 0) + events
        tallied["read"] += events


def _apply(reader: Reader, cells: _Cells, position: int, table: Table) -> list[Window]:
    """Writes each window that the record touched once, and gives what to emit for it."""
    meter, names = reader.meter, reader.names
    aggregation = meter.aggregation
    identities = [tally.identity(meter.namespace, meter.meter_id, at[1], names, at[2]) for at in cells]
    keys = [tally.window_key(at[0], identity) for at, identity in zip(cells, identities, strict=True)]
    stored = table.get_many(keys)
    members: list[list[str]] = [[]] * len(keys)
    if aggregation == "UNIQUE_COUNT":
        members = _members(cells, identities, position, table)
    # Subjects share few combinations of dimensions, so each is named once.
    named = {values: dict(zip(names, values, strict=True)) for values in {at[2] for at in cells}}
    windows = []
    for key, value, brought, at, cell in zip(keys, stored, members, cells, cells.values(), strict=True):
        state = None if value is None else tally.decode_state(value)
        if state is None or state.position < position:
            state = _advance(meter, state, at, cell, position)
            table.put(key, tally.encode_state(state))
        windows.append(
            Window(
                meter.namespace,
                meter.slug,
                meter.meter_id,
                at[1],
                named[at[2]],
                at[0] * MINUTE_S,
                state.value,
                state.count,
                state.change,
                state.order,
                brought,
                state.position,
                state.received_at_ms,
            )
        )
    return windows


def _advance(meter: Meter, before: tally.State | None, at: _At, cell: _Cell, position: int) -> tally.State:
    """The state after a record that brings `cell`."""
    count, received_at_ms, value = cell
    order = ""
    write, read = (str, int) if meter.aggregation in tally.WHOLE else (number.text, number.exact)
    if meter.aggregation == "LATEST":
        order, value = tally.order(*value[0]), value[1]
    if before is None:
        change = value
    else:
        old = read(before.value)
        if meter.aggregation == "LATEST":
            order, value = max((order, value), (before.order, old))
        else:
            value = tally.FOLD[meter.aggregation](old, value)
        change = value - old
        count += before.count
        received_at_ms = max(received_at_ms, before.received_at_ms)
    if not -number.TOTAL_LIMIT < value < number.TOTAL_LIMIT:
        _outgrown(meter, at)
    text = write(value)
    return tally.State(
        position, received_at_ms, count, text, text if change == value else write(change), order
    )


def _outgrown(meter: Meter, at: _At) -> NoReturn:
    raise Broken(
        f"the total of meter {meter.slug} in namespace {meter.namespace} for subject {at[1]!r} no longer "
        f"fits 38 digits, in the minute that starts at {at[0] * MINUTE_S} s since 1970"
    )


def _members(cells: _Cells, identities: list[bytes], position: int, table: Table) -> list[list[str]]:
    """Of each cell, the members that this record brought, sorted; the cell's value becomes their number.

    A member first seen at this position is new again: after a torn write its window may not have it yet.
    """
    digests = [sorted(map(tally.member_digest, cell[2])) for cell in cells.values()]
    keys = [
        tally.member_key(at[0], identity, digest)
        for at, identity, found in zip(cells, identities, digests, strict=True)
        for digest in found
    ]
    firsts = iter(zip(keys, table.get_many(keys), strict=True))
    brought = []
    for cell, found in zip(cells.values(), digests, strict=True):
        new = []
        for digest, (key, first) in zip(found, firsts, strict=False):
            if first is None or tally.decode_first(first) >= position:
                table.put(key, tally.encode_first(position))
                new.append(digest.hex())
        cell[2] = len(new)
        brought.append(new)
    return brought
