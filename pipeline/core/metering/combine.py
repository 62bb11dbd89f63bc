"""What the events of one record bring to each window, before any state is read.

Owns: the events of a type as columns, who is refused and why, folding within the record. Does not own: state
(aggregate), reading of a single value (extract). Work goes meter by meter over columns, which is much faster
than event by event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from typing import Any

import msgspec

from pipeline.core.metering import window_state
from pipeline.core.metering.extract import Column, Data, Extractor, ExtractPlan, unreadable
from pipeline.core.metering.meter import MAX_DIMENSIONS_CHARACTERS
from pipeline.core.metering.refusal import LONG_DIMENSIONS, UNWANTED, Refusal
from pipeline.core.values.time_window import MINUTE_NS
from pipeline.records import Event

CellKey = tuple[int, str, tuple[str, ...]]  # minute, subject, dimensions: a window of one meter
Cell = list[Any]  # what one record brings to one window: events, newest received_at_ms, folded value
Brought = tuple[
    int, CellKey, int, Any
]  # what one event brings: its place in the record, window, received_at_ms, value

_HUGE = Refusal(
    LONG_DIMENSIONS, f"group by values have more than {MAX_DIMENSIONS_CHARACTERS} characters in total"
)


class Group:
    """The events of one (namespace, event type) within one record, as columns. places: in the record.

    refused: place -> slug -> why that meter did not count the event; UNWANTED where it did not want it.
    """

    __slots__ = (
        "_columns",
        "_data",
        "_unreadable",
        "events",
        "minutes",
        "namespace",
        "places",
        "plan",
        "received_ms",
        "refused",
        "subjects",
    )  # fmt: skip

    def __init__(self, namespace: str, plan: ExtractPlan | None) -> None:
        self.namespace = namespace
        self.plan = plan
        self.places: list[int] = []
        self.events: list[Event] = []
        self.refused: dict[int, dict[str, Refusal]] = {}

    def open(self, closed_minute: int) -> list[tuple[int, Event]]:
        """Fills the columns. Removes the events of closed windows and gives them, with their places."""
        minutes = [event.time_ns // MINUTE_NS for event in self.events]
        closed: list[tuple[int, Event]] = []
        if min(minutes) < closed_minute:
            is_open = [minute >= closed_minute for minute in minutes]
            is_closed = [not each for each in is_open]
            closed = list(compress(zip(self.places, self.events, strict=True), is_closed))
            self.places = list(compress(self.places, is_open))
            self.events = list(compress(self.events, is_open))
            minutes = list(compress(minutes, is_open))
        self.minutes = minutes
        self.subjects = [event.subject for event in self.events]
        self.received_ms = [event.received_at_ms for event in self.events]
        self._columns: dict[object, Column] = {}
        self._decode()
        return closed

    def _decode(self) -> None:
        self._data: list[object] = []
        self._unreadable: dict[int, Refusal] = {}  # row -> why
        if self.plan is None or self.plan.decode is None:
            return
        decode, empty, data = self.plan.decode, self.plan.empty, self._data
        for event in self.events:
            try:
                found = decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._unreadable[len(data)] = unreadable(error)
                found = None
            data.append(empty if found is None else found)

    def _values(self, read: Callable[[Data], Column]) -> Column:
        """The values of all rows and who is refused; meters of the same value share the work."""
        column = self._columns.get(read)
        if column is None:
            column = self._columns[read] = read(self._data)
        return column

    def brought(self, reader: Extractor) -> Iterator[Brought]:
        """What each event brings to its window of one meter. Notes in `refused` what that meter cannot take."""
        skipped = self._skipped(reader)
        values: Iterable[Any] = [1] * len(self.events)
        if reader.values is not None:
            values, refused = self._values(reader.values)
            if refused:
                skipped = {**refused, **skipped}
            values = _foldable(reader.meter.aggregation, values, self.events)
        dimensions: Iterable[tuple[str, ...]] = [()] * len(self.events)
        if reader.names:
            dimensions = reader.dimensions(self._data)
        at = zip(self.minutes, self.subjects, dimensions, strict=True)
        rows = zip(self.places, at, self.received_ms, values, strict=True)
        if not skipped:
            return rows
        for row, why in skipped.items():
            self.refuse(self.places[row], reader, why)
        return compress(rows, [row not in skipped for row in range(len(self.events))])

    def _skipped(self, reader: Extractor) -> dict[int, Refusal]:
        """Row -> why, of the rows that this meter does not want or whose data cannot be read."""
        skipped = dict(self._unreadable) if reader.needs_data else {}
        if reader.from_ns is not None:
            for row, event in enumerate(self.events):
                if event.time_ns < reader.from_ns:
                    skipped[row] = UNWANTED
        return skipped

    def refuse(self, place: int, reader: Extractor, why: Refusal) -> None:
        self.refused.setdefault(place, {})[reader.slug] = why


def _foldable(aggregation: str, values: Iterable[Any], events: list[Event]) -> Iterable[Any]:
    """The values in the form that is folded within a record (see window_state.GATHER)."""
    if aggregation == "UNIQUE_COUNT":
        return [{value} for value in values]
    if aggregation == "LATEST":
        arrivals = [(event.time_ns, event.received_at_ms, event.partition, event.offset) for event in events]
        return zip(arrivals, values, strict=True)
    return values


def combine(reader: Extractor, group: Group) -> dict[CellKey, Cell]:
    """What the group brings to each window of one meter."""
    cells: dict[CellKey, Cell] = {}
    fold, get = window_state.GATHER[reader.meter.aggregation], cells.get
    for place, at, received_at_ms, value in group.brought(reader):
        cell = get(at)
        if cell is None:
            if len("".join(at[2])) > MAX_DIMENSIONS_CHARACTERS:
                group.refuse(place, reader, _HUGE)
            else:
                cells[at] = [1, received_at_ms, value]
        else:
            cell[0] += 1
            cell[2] = fold(cell[2], value)
            if received_at_ms > cell[1]:  # noqa: PLR1730  # max() takes several times as long
                cell[1] = received_at_ms
    return cells
