"""The usage that customers are billed for: any quantity of a feature over any whole minutes.

Owns: what windows change, quantities, how long usage is kept, its removal. Does not own: keys and bytes (usage_rows),
which windows arrive here (agents.attribute), prices (rating).

The rows follow from the windows alone. A window is an absolute value with a revision: one that comes twice, or an older
one, changes nothing. A span is read as whole days, then the hours and minutes at its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.bills.usage_cell import add_window, quantity_of
from pipeline.core.bills.usage_members import SEGMENT_ENTRIES, Segments, UsageMembers
from pipeline.core.bills.usage_rows import (
    PURGED,
    SERIES_BYTES,
    USAGE,
    AccountDay,
    DirectoryRow,
    LoadedRow,
    PartRow,
    PurgedRow,
    SeriesDay,
    UsageCell,
    UsageDayRow,
    UsageHourRow,
    customer_key,
    customer_of,
    day_of,
    directory_key,
    loaded_key,
    minute_of_day,
    part_key,
    series_key,
)
from pipeline.core.catalog.feature import Feature
from pipeline.core.invoices.line_usage import SeenPositions, highest_seen, note_seen
from pipeline.core.metering.meter import Aggregation
from pipeline.core.metering.partition_splits import ONE_PARTITION, EventPartitions
from pipeline.core.values.cached_rows import msgpack_rows
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S, NEVER_S
from pipeline.core.values.filters import Filter, filter_string, matches
from pipeline.core.values.sweep import Swept, sweep
from pipeline.core.values.table import KeyLookup, ScannedBytes
from pipeline.errors import Broken
from pipeline.records import CustomerWindow, Window

SWEPT_AT_ONCE = 500
REST_MS = 3_600_000


_loaded = msgspec.msgpack.Decoder(LoadedRow).decode


class BilledFeature(NamedTuple):
    """Which usage is a feature's.

    Attributes:
        meter_id, aggregation: of its meter.
        filters: by dimension; all of them must match. A window without the dimension has the empty text there.
    """

    meter_id: int
    aggregation: Aggregation
    filters: tuple[tuple[str, Filter], ...] = ()

    def takes(self, dimensions: Mapping[str, str]) -> bool:
        """Whether usage with these dimensions is usage of the feature."""
        return all(
            dimensions.get(name, "") == filter_.operand
            if filter_.op == "$eq"  # the usual one: every series is asked for every feature
            else matches(filter_, dimensions.get(name, ""))
            for name, filter_ in self.filters
        )


def billed_feature(feature: Feature, meter_id: int, aggregation: Aggregation) -> BilledFeature:
    """The usage of a feature. meter_id, aggregation: of its meter, which a feature of an early version lacks."""
    filters = tuple((name, filter_string(name, wanted)) for name, wanted in feature.filters.items())
    return BilledFeature(meter_id, aggregation, filters)


class UsageTouched(NamedTuple):
    """A minute, in seconds since 1970, in which the usage of a customer's meter changed."""

    namespace: str
    customer: str
    meter_id: int
    minute_s: int


class _Placed(NamedTuple):
    """Where the usage of a window is kept. minute: of the day."""

    place: SeriesDay
    minute: int
    hour_key: bytes
    minute_key: bytes
    part_key: bytes


def never(customer: bytes) -> int:
    """No usage of any customer is needed longer than that of others."""
    return NEVER_S


UsageSpan = tuple[bytes, int, int, int]  # customer, meter, from and to, in seconds since 1970
FoundDays = list[tuple[SeriesDay, UsageDayRow]]


class BilledUsage:
    """The usage in a partition's table within a chunk. Call `take` for its windows, then `flush`."""

    def __init__(
        self,
        table: ScannedBytes,
        kept_s: int,
        needed_since_s: Callable[[bytes], int] = never,
        partitions: EventPartitions = ONE_PARTITION,
    ) -> None:
        """The usage in a table.

        Args:
            table: of the partition.
            kept_s: for how long usage is kept and counted.
            needed_since_s: by `customer_key`, the instant since which the customer's usage is kept although it is
                older; NEVER_S: none is.
            partitions: of `events-unique`.
        """
        self._table = table
        self._kept_s, self._partitions = kept_s, partitions
        self._needed_since_s = needed_since_s
        self._directories = msgpack_rows(table, DirectoryRow)
        self._days = msgpack_rows(table, UsageDayRow)
        self._hours = msgpack_rows(table, UsageHourRow)
        self._minutes = msgpack_rows(table, UsageCell)
        self._parts = msgpack_rows(table, PartRow)
        self._purged = msgpack_rows(table, PurgedRow)
        self._loaded = msgpack_rows(table, LoadedRow)
        self._more = Segments(table, SERIES_BYTES)
        self._members = UsageMembers(table)
        self._last: tuple[UsageSpan, list[FoundDays]] | None = None  # until usage changes
        self.beyond: list[UsageTouched] = []  # windows of the last `take` from beyond the horizon

    def counts_since_s(self, namespace: str, customer: str, now_s: int) -> int:
        """The instant since which usage of a customer counts. What began before it is not to be rated again."""
        return min(now_s - self._kept_s, self._needed_since_s(customer_key(namespace, customer)))

    # -- what windows change ------------------------------------------------------------------------------------

    def take(self, windows: Sequence[CustomerWindow], now_s: int) -> list[UsageTouched]:
        """Count windows, in any order.

        Args:
            windows: of any customers of the partition.
            now_s: the time that the records have reached, in seconds since 1970.

        Returns:
            The minutes whose usage changed, in order. Windows that are too old change nothing: see `beyond`.
        """
        self._last = None
        counted = [one for one in windows if self._counts(one, now_s)]
        self.beyond = [_touched(one) for one in windows if one.window.start_s < now_s - self._kept_s]
        placed = [_placed(one) for one in counted]
        self._days.load([one.place.key for one in placed])
        self._hours.load([one.hour_key for one in placed])
        self._minutes.load([one.minute_key for one in placed])
        self._parts.load([one.part_key for one in placed])
        changed = [one for one, at in zip(counted, placed, strict=True) if self._add(at, one.window)]
        return sorted({_touched(one) for one in changed})

    def _counts(self, one: CustomerWindow, now_s: int) -> bool:
        return one.window.start_s >= self.counts_since_s(one.window.namespace, one.customer, now_s)

    def _add(self, at: _Placed, window: Window) -> bool:
        place = at.place
        day_row = self._days.get(place.key) or UsageDayRow(window.dimensions, UsageCell())
        hour_row = self._hours.get(at.hour_key) or UsageHourRow(UsageCell())
        cell, part = self._minutes.get(at.minute_key) or UsageCell(), self._parts.get(at.part_key)
        members = [bytes.fromhex(member) for member in window.members]
        changed = bool(members) and self._members.add(place, day_row, at.minute, members)
        is_newer = part is None or part.revision < window.revision
        if is_newer:
            changed = add_window((cell, hour_row.cell, day_row.cell), window, part) or changed
            self._parts.put(at.part_key, PartRow(window.revision, window.value, window.count))
        if not changed:
            return False
        if is_newer:
            note_seen(day_row.seen, window, self._partitions)
        if not day_row.hours:
            self._list(place)
        day_row.hours |= 1 << at.minute // 60
        hour_row.minutes |= 1 << at.minute % 60
        self._days.put(place.key, day_row)
        self._hours.put(at.hour_key, hour_row)
        self._minutes.put(at.minute_key, cell)
        return True

    def _list(self, place: SeriesDay) -> None:
        """Write a new series into the directory of its day."""
        key = directory_key(place.account, 0)
        row = self._directories.get(key) or DirectoryRow([])
        if row.total < SEGMENT_ENTRIES:
            row.first.append(place.series)
        else:
            segment = row.total // SEGMENT_ENTRIES
            self._more.append(directory_key(place.account, segment), row.total, place.series)
        row.total += 1
        self._directories.put(key, row)

    def flush(self) -> None:
        """Write the changed rows to the table."""
        for rows in (
            self._directories, self._days, self._hours, self._minutes, self._parts, self._purged, self._loaded,
            self._more, self._members,
        ):  # fmt: skip
            rows.flush()

    def note_loaded(self, namespace: str, meter_id: int, revision: int) -> None:
        """The historical usage of a meter was loaded. revision: of the definitions by which it was."""
        key = loaded_key(namespace, meter_id)
        known = self._loaded.get(key)
        if known is None or known.revision < revision:
            self._loaded.put(key, LoadedRow(revision))

    # -- quantities ---------------------------------------------------------------------------------------------

    def quantity(self, namespace: str, customer: str, feature: BilledFeature, from_s: int, to_s: int) -> int:
        """The usage of a customer's feature.

        Args:
            namespace: of the customer.
            customer: its id.
            feature: whose usage is asked for.
            from_s: start of the span, in seconds since 1970; the whole minute in which it lies belongs to the span.
            to_s: its end; the minute in which it lies does not belong to the span.

        Returns:
            In atto; 0 without usage.

        Raises:
            Broken: The span begins with usage that was removed.
        """
        from_s, to_s = from_s // MINUTE_S * MINUTE_S, to_s // MINUTE_S * MINUTE_S
        owner = customer_key(namespace, customer)
        self._check_kept(owner, from_s)
        found = [
            day
            for days in self._found(owner, feature.meter_id, from_s, to_s)
            if feature.takes(days[0][1].dimensions)
            for day in days
        ]
        members: set[bytes] = set()
        if feature.aggregation == "UNIQUE_COUNT":
            for place, row in found:
                members |= self._members.between(place, row, from_s, to_s)
        return quantity_of(feature.aggregation, self._cells(found, from_s, to_s), len(members))

    def seen(
        self, namespace: str, customer: str, feature: BilledFeature, from_s: int, to_s: int
    ) -> SeenPositions:
        """Up to which positions `quantity` counts the events of a span; its arguments are the same."""
        owner, minutes = customer_key(namespace, customer), (from_s // MINUTE_S, to_s // MINUTE_S)
        series = self._found(owner, feature.meter_id, *(minute * MINUTE_S for minute in minutes))
        taken = [days for days in series if feature.takes(days[0][1].dimensions)]
        return highest_seen(row.seen for days in taken for _, row in days)

    def _check_kept(self, owner: bytes, from_s: int) -> None:
        purged = self._purged.get(PURGED)
        if purged is not None and from_s < min((purged.day + 1) * DAY_S, self._needed_since_s(owner)):
            raise Broken(f"usage since {from_s} is asked for, but day {purged.day} was removed")

    def _found(self, owner: bytes, meter_id: int, from_s: int, to_s: int) -> list[FoundDays]:
        """`_series` of the last span, by series: the lines of a customer ask for the same one, feature by feature."""
        span = (owner, meter_id, from_s, to_s)
        if self._last is None or self._last[0] != span:
            by_series: dict[bytes, FoundDays] = {}
            for place, row in self._series(*span):
                by_series.setdefault(place.series, []).append((place, row))
            self._last = (span, list(by_series.values()))
        return self._last[1]

    def _series(
        self, owner: bytes, meter_id: int, from_s: int, to_s: int
    ) -> Iterator[tuple[SeriesDay, UsageDayRow]]:
        """Every series of each day that touches the span."""
        days = range(max(from_s, 0) // DAY_S, -(-to_s // DAY_S)) if from_s < to_s else ()
        accounts = {
            directory_key(account, 0): account
            for account in (AccountDay(owner, meter_id, day) for day in days)
        }
        self._directories.load(list(accounts))
        places: dict[bytes, SeriesDay] = {}
        for key, account in accounts.items():
            row = self._directories.get(key)
            if row is None:
                continue
            segments = range(1, -(-row.total // SEGMENT_ENTRIES))
            more = self._more.entries([directory_key(account, segment) for segment in segments])
            begins = account.series_prefix
            places |= {begins + series: SeriesDay(account, series) for series in (*row.first, *more)}
        self._days.load(list(places))
        for key, place in places.items():
            if (day := self._days.get(key)) is not None:
                yield place, day

    def _cells(
        self, found: Iterable[tuple[SeriesDay, UsageDayRow]], from_s: int, to_s: int
    ) -> Iterator[UsageCell]:
        for place, row in found:
            start_s = place.account.day * DAY_S
            if from_s <= start_s and start_s + DAY_S <= to_s:
                yield row.cell
                continue
            hours = [
                hour for hour in _bits(row.hours) if _touches(start_s + hour * HOUR_S, HOUR_S, from_s, to_s)
            ]
            self._hours.load([place.hour_key(hour) for hour in hours])
            for hour in hours:
                yield from self._hour_cells(place, hour, from_s, to_s)

    def _hour_cells(self, place: SeriesDay, hour: int, from_s: int, to_s: int) -> Iterator[UsageCell]:
        row = self._hours.get(place.hour_key(hour))
        start_s = place.account.day * DAY_S + hour * HOUR_S
        if row is None:
            return
        if from_s <= start_s and start_s + HOUR_S <= to_s:
            yield row.cell
            return
        inside = [minute for minute in _bits(row.minutes) if from_s <= start_s + minute * MINUTE_S < to_s]
        keys = [place.minute_key(hour * 60 + minute) for minute in inside]
        self._minutes.load(keys)
        yield from (cell for key in keys if (cell := self._minutes.get(key)) is not None)

    # -- removal ------------------------------------------------------------------------------------------------

    def sweep(self, start: bytes, now_s: int) -> Swept:
        """Remove a slice of the rows of days that are too old; to be called by a SweepProgress, before `flush`.

        Args:
            start: where the slice begins: the `next_key` of the one before.
            now_s: the time that the records have reached, in seconds since 1970.
        """
        self._last = None
        oldest_day = (now_s - self._kept_s) // DAY_S

        def is_expired(key: bytes, _: bytes) -> bool:
            return (day_of(key) + 1) * DAY_S <= self._needed_since_s(customer_of(key))

        swept = sweep(
            self._table,
            SWEPT_AT_ONCE,
            is_expired,
            prefix=USAGE,
            start=start,
            is_young=lambda key: day_of(key) >= oldest_day,
        )
        known = self._purged.get(PURGED)
        newest = max((day_of(key) for key in swept.removed), default=None)
        if newest is not None and (known is None or known.day < newest):
            self._purged.put(PURGED, PurgedRow(newest))
        return swept


def loaded_revision(table: KeyLookup, namespace: str, meter_id: int) -> int:
    """Up to which revision of the definitions the historical usage of a meter was loaded; -1: none was."""
    (value,) = table.get_many([loaded_key(namespace, meter_id)])
    return -1 if value is None else _loaded(value).revision


def _placed(one: CustomerWindow) -> _Placed:
    window = one.window
    owner, minute = customer_key(window.namespace, one.customer), minute_of_day(window.start_s)
    place = SeriesDay(
        AccountDay(owner, window.meter_id, window.start_s // DAY_S), series_key(window.dimensions)
    )
    part = place.part_key(minute, part_key(window.subject, window.part))
    return _Placed(place, minute, place.hour_key(minute // 60), place.minute_key(minute), part)


def _touched(one: CustomerWindow) -> UsageTouched:
    window = one.window
    return UsageTouched(window.namespace, one.customer, window.meter_id, window.start_s)


def _bits(bits: int) -> Iterator[int]:
    place = 0
    while bits >> place:
        if bits >> place & 1:
            yield place
        place += 1


def _touches(start_s: int, length_s: int, from_s: int, to_s: int) -> bool:
    return start_s < to_s and from_s < start_s + length_s
