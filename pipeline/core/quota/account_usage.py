"""The usage of one account in state: by minute and by hour, so that any span is summed without the events.

Owns: keys and bytes of these rows, what a window changes, sums, purging. Does not own: members of UNIQUE_COUNT
(account_members), what usage changes of a balance (balance), the storage (engine). An account is a customer's feature
and meter.

Windows are absolute values with a revision, stored in the row of their minute: one that comes twice, or an older one,
changes nothing. Rows are decoded once a chunk, and written by `StoredUsage.flush`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from pipeline.core.quota.account_members import ONE, AccountMembers, SeenMember, first_in_period
from pipeline.core.quota.last_crossing import LastCrossing
from pipeline.core.quota.terms import Counted
from pipeline.core.values import number
from pipeline.core.values.cached_rows import CachedRows, msgpack_rows
from pipeline.core.values.calendar import HOUR_S, MINUTE_S, Schedule
from pipeline.core.values.table import KeyedBytes
from pipeline.records import Window

_AT = struct.Struct(">cI")
PART_BYTES = 8
encode = msgspec.msgpack.Encoder().encode


class UsageChange(NamedTuple):
    """One window of a minute with its newest value.

    Args:
        part: identifies the window within its minute, at most 16 bytes.
        minute_s: start of the minute, in seconds since 1970.
        value: all of the window's usage in atto; not of UNIQUE_COUNT, where `members` count.
        revision: a newer one replaces an older one.
        order: of LATEST: the value with the highest one counts.
        members: of UNIQUE_COUNT: those that are new in the window, 16 bytes each.
    """

    part: bytes
    minute_s: int
    value: int
    revision: int
    order: str = ""
    members: Sequence[bytes] = ()


def change_of(window: Window) -> UsageChange:
    """A window of `usage` as a change."""
    identity = encode((window.meter_id, window.subject, sorted(window.dimensions.items()), window.part))
    return UsageChange(
        part=blake2b(identity, digest_size=PART_BYTES).digest(),
        minute_s=window.start_s,
        value=number.exact(window.value),
        revision=window.revision,
        order=window.order,
        members=[bytes.fromhex(member) for member in window.members],
    )


class UsageMoved(NamedTuple):
    """The difference that a change makes to the usage of a minute, in atto."""

    minute_s: int
    change: int


class MinuteRow(msgspec.Struct, array_like=True):
    """Usage of one minute.

    Args:
        value: plain decimal text.
        order: of LATEST.
        parts: of SUM and COUNT: revision and value of each window.
    """

    value: str = "0"
    order: str = ""
    parts: dict[bytes, tuple[int, str]] = {}


class HourRow(msgspec.Struct, array_like=True):
    """Usage of one hour: the sum of its minutes, or the latest of them.

    Args:
        value: plain decimal text.
        order: of LATEST.
        minutes: bit n is set where minute n has a row.
        sank: within the hour the total may have been lower than at its end: a minute is below zero, or it is LATEST.
        entries: length of the log of members for this hour.
    """

    value: str = "0"
    order: str = ""
    minutes: int = 0
    sank: bool = False
    entries: int = 0


class StoredUsage(NamedTuple):
    """The rows of all accounts, each decoded once and written once. table: for the members of UNIQUE_COUNT."""

    table: KeyedBytes
    minutes: CachedRows[MinuteRow]
    hours: CachedRows[HourRow]

    @classmethod
    def of(cls, table: KeyedBytes) -> StoredUsage:
        """The rows of a table."""
        return cls(table, msgpack_rows(table, MinuteRow), msgpack_rows(table, HourRow))

    def load(self, places: Iterable[tuple[bytes, int]]) -> None:
        """Read rows at once. places: key of the account, minute in seconds since 1970."""
        wanted = list(places)
        self.minutes.load([_key(account, b"m", minute_s) for account, minute_s in wanted])
        self.hours.load([_key(account, b"h", minute_s // HOUR_S * HOUR_S) for account, minute_s in wanted])

    def flush(self) -> None:
        """Write what has changed to the table."""
        self.minutes.flush()
        self.hours.flush()


def _key(account: bytes, kind: bytes, start_s: int) -> bytes:
    return account + _AT.pack(kind, start_s // MINUTE_S)


class UsageSum(NamedTuple):
    """Usage of a span, in atto. order: of LATEST; empty where there is no usage."""

    value: int
    order: str = ""


class UsageRows:
    """The rows of one account. since_s: a whole hour; rows before it were purged, and are not written again."""

    def __init__(self, stored: StoredUsage, account: bytes, aggregation: Counted, since_s: int) -> None:
        self._stored = stored
        self._account = account
        self._latest = aggregation == "LATEST"
        self._unique = aggregation == "UNIQUE_COUNT"
        self._members = AccountMembers(stored.table, account)
        self.since_s = since_s

    # -- what windows change ------------------------------------------------------------------------------------

    def record(self, changes: Iterable[UsageChange], schedule: Schedule) -> list[UsageMoved]:
        """Count windows.

        Args:
            changes: in any order; those before `since_s` are ignored.
            schedule: the usage periods, by which members count.

        Returns:
            What changed, in order of minutes.
        """
        rows: dict[int, MinuteRow] = {}
        moved: dict[int, int] = {}
        members: list[SeenMember] = []
        for change in changes:
            minute_s = change.minute_s
            if minute_s < self.since_s:
                continue
            if self._unique:
                members += [(minute_s, member) for member in change.members]
                continue
            row = rows.get(minute_s)
            if row is None:
                row = rows[minute_s] = self._minute(minute_s)
            if not self._latest:
                _add(moved, minute_s, _take(row, change))
            elif change.order > row.order:
                _add(moved, minute_s, change.value - number.exact(row.value))
                row.order, row.value = change.order, number.text(change.value)
        if members:
            for minute_s, difference in self._record_members(members, schedule):
                _add(moved, minute_s, difference)
        for minute_s, difference in moved.items():
            self._write(minute_s, rows.get(minute_s) or self._minute(minute_s), difference)
        return [UsageMoved(minute_s, change) for minute_s, change in sorted(moved.items())]

    def _write(self, minute_s: int, row: MinuteRow, change: int) -> None:
        hours, key = self._stored.hours, _key(self._account, b"h", minute_s // HOUR_S * HOUR_S)
        hour = hours.get(key) or HourRow()
        hour.minutes |= 1 << minute_s % HOUR_S // MINUTE_S
        if self._latest:
            hour.sank = True
            if row.order >= hour.order:
                hour.order, hour.value = row.order, row.value
        else:
            if self._unique:
                row.value = number.text(number.exact(row.value) + change)
            hour.value = number.text(number.exact(hour.value) + change)
            hour.sank = hour.sank or row.value.startswith("-")
        self._put_minute(minute_s, row)
        hours.put(key, hour)

    # -- members of UNIQUE_COUNT --------------------------------------------------------------------------------

    def _record_members(self, seen: Sequence[SeenMember], schedule: Schedule) -> list[tuple[int, int]]:
        changes, logged = self._members.count(seen, schedule, self.since_s)
        for start_s, added in logged.items():
            hour = self._hour(start_s)
            hour.entries = self._members.append(start_s, hour.entries, added)
            self._put_hour(start_s, hour)
        return changes

    def rebuild_members(self, schedule: Schedule, until_s: int) -> None:
        """Count all members of the log by other usage periods.

        Args:
            schedule: the usage periods.
            until_s: later than any row, in seconds since 1970.
        """
        counted: dict[bytes, list[int]] = {}
        for start_s, hour in self._existing(self.since_s, until_s):
            counts = dict.fromkeys(_minutes_of(start_s, hour.minutes), 0)
            for minute_s, member in sorted(self._members.log(start_s, hour.entries)):
                minutes = counted.setdefault(member, [])
                if first_in_period(minutes, minute_s, schedule) is None:
                    minutes.append(minute_s)
                    counts[minute_s] = counts.get(minute_s, 0) + ONE
            for minute_s, count in counts.items():
                hour.minutes |= 1 << minute_s % HOUR_S // MINUTE_S
                self._put_minute(minute_s, MinuteRow(number.text(count)))
            hour.value = number.text(sum(counts.values()))
            self._put_hour(start_s, hour)
        self._members.write(counted)

    # -- sums ---------------------------------------------------------------------------------------------------

    def between(self, from_s: int, to_s: int) -> UsageSum:
        """Usage of the minutes in [from_s, to_s), in seconds since 1970."""
        total, order = 0, ""
        for start_s, hour in self._existing(from_s, to_s):
            if from_s <= start_s and start_s + HOUR_S <= to_s:
                rows: Iterable[MinuteRow | HourRow] = [hour]
            else:
                inside = [m for m in _minutes_of(start_s, hour.minutes) if from_s <= m < to_s]
                rows = self._minutes(inside).values()
            for row in rows:
                if not self._latest:
                    total += number.exact(row.value)
                elif row.order > order:
                    total, order = number.exact(row.value), row.order
        return UsageSum(total, order)

    def crossing(self, from_s: int, to_s: int, available: int) -> int:
        """The minute since which usage has been at or above an amount.

        An hour is one step where its minutes make no difference: one that ends below the amount, and one that never
        fell while the amount is reached. Of the others each minute is a step.

        Args:
            from_s: start of the span, in seconds since 1970.
            to_s: its end, which does not belong to it.
            available: the amount, in atto.

        Returns:
            Seconds since 1970; `from_s` if the amount is not reached at the end of the span.

        Two hours of 6 reach 10 in the second one; after -3 in the third the amount is reached again in the fourth.

        >>> class State(dict):
        ...     get_many = lambda self, keys: [self.get(key) for key in keys]
        ...     put = dict.__setitem__
        >>> from pipeline.core.values.calendar import Interval, Recurrence
        >>> schedule = Schedule(0, Recurrence(Interval(1, 0), 0))
        >>> rows = UsageRows(StoredUsage.of(State()), b"account", "SUM", since_s=0)
        >>> usage = [(0, 6), (HOUR_S, 6), (2 * HOUR_S, -3), (3 * HOUR_S, 2)]
        >>> changes = [UsageChange(b"", minute_s, value * ONE, revision=1) for minute_s, value in usage]
        >>> _ = rows.record(changes, schedule)
        >>> [rows.crossing(0, hours * HOUR_S, 10 * ONE) // HOUR_S for hours in (1, 2, 3, 4)]
        [0, 1, 0, 3]
        """
        search = LastCrossing(available, self._latest)
        for start_s, hour in self._existing(from_s, to_s):
            value = number.exact(hour.value)
            below, reached = search.after(value) < available, search.since_s is not None
            if from_s <= start_s and start_s + HOUR_S <= to_s and (below or (reached and not hour.sank)):
                search.step(start_s, value)
                continue
            inside = [m for m in _minutes_of(start_s, hour.minutes) if from_s <= m < to_s]
            for minute_s, row in self._minutes(inside).items():
                search.step(minute_s, number.exact(row.value))
        return from_s if search.since_s is None else search.since_s

    def minute(self, minute_s: int) -> UsageSum:
        """Usage of one minute."""
        row = self._minute(minute_s)
        return UsageSum(number.exact(row.value), row.order)

    # -- purging ------------------------------------------------------------------------------------------------

    def purge(self, before_s: int, hours: int) -> None:
        """Remove rows before an instant, and move `since_s` to where it stopped.

        Args:
            before_s: in seconds since 1970.
            hours: how many hours of rows are removed at most.
        """
        until_s = min(before_s // HOUR_S * HOUR_S, self.since_s + hours * HOUR_S)
        for start_s, hour in self._existing(self.since_s, until_s):
            members = {member for _, member in self._members.log(start_s, hour.entries)}
            self._members.delete_log(start_s, hour.entries)
            for minute_s in _minutes_of(start_s, hour.minutes):
                self._put_minute(minute_s, None)
            self._put_hour(start_s, None)
            self._members.forget(members, start_s + HOUR_S)
        self.since_s = max(self.since_s, until_s)

    # -- rows ---------------------------------------------------------------------------------------------------

    # A row that is changed is put back at once: the one in the cache is the same.

    def _minute(self, minute_s: int) -> MinuteRow:
        return self._stored.minutes.get(_key(self._account, b"m", minute_s)) or MinuteRow()

    def _hour(self, start_s: int) -> HourRow:
        return self._stored.hours.get(_key(self._account, b"h", start_s)) or HourRow()

    def _put_minute(self, minute_s: int, row: MinuteRow | None) -> None:
        self._stored.minutes.put(_key(self._account, b"m", minute_s), row)

    def _put_hour(self, start_s: int, row: HourRow | None) -> None:
        self._stored.hours.put(_key(self._account, b"h", start_s), row)

    def _minutes(self, starts: Sequence[int]) -> dict[int, MinuteRow]:
        self._stored.minutes.load([_key(self._account, b"m", minute_s) for minute_s in starts])
        return {minute_s: self._minute(minute_s) for minute_s in starts}

    def _hours(self, starts: Sequence[int]) -> dict[int, HourRow]:
        self._stored.hours.load([_key(self._account, b"h", start_s) for start_s in starts])
        return {start_s: self._hour(start_s) for start_s in starts}

    def _existing(self, from_s: int, to_s: int) -> list[tuple[int, HourRow]]:
        """Hours with rows that touch [from_s, to_s), in order."""
        starts = range(max(from_s, self.since_s) // HOUR_S * HOUR_S, to_s, HOUR_S)
        hours = self._hours(starts)
        return [(start_s, hour) for start_s, hour in hours.items() if hour.minutes or hour.entries]


def _take(row: MinuteRow, change: UsageChange) -> int:
    """Put a window of SUM or COUNT into its row, and give the difference in atto."""
    before = row.parts.get(change.part)
    if before is not None and before[0] >= change.revision:
        return 0
    row.parts[change.part] = (change.revision, number.text(change.value))
    difference = change.value - (0 if before is None else number.exact(before[1]))
    row.value = number.text(number.exact(row.value) + difference)
    return difference


def _add(moved: dict[int, int], minute_s: int, change: int) -> None:
    moved[minute_s] = moved.get(minute_s, 0) + change


def _minutes_of(start_s: int, minutes: int) -> Iterator[int]:
    for minute in range(60):
        if minutes >> minute & 1:
            yield start_s + minute * MINUTE_S
