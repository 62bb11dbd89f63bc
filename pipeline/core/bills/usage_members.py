"""The members of UNIQUE_COUNT in the usage of a customer: which ones a day has, and in which of its minutes.

Owns: adding members, those of a part of a day. Does not own: keys and bytes (usage_rows), how many a span has (usage).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.core.bills.usage_rows import MEMBER_BYTES, MemberRow, SegmentRow, SeriesDay, UsageDayRow
from pipeline.core.values.cached_rows import msgpack_rows
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S
from pipeline.core.values.table import ScannedBytes

SEGMENT_ENTRIES = 200  # in one value of a list: a new entry writes the value again


class Segments:
    """Lists of entries of one length, each in several rows."""

    def __init__(self, table: ScannedBytes, length: int) -> None:
        self._rows = msgpack_rows(table, SegmentRow)
        self._length = length

    def append(self, key: bytes, place: int, entry: bytes) -> None:
        """Add an entry. key: of its segment. place: of the entry in the list."""
        row = self._rows.get(key) if place % SEGMENT_ENTRIES else None
        self._rows.put(key, SegmentRow((b"" if row is None else row.entries) + entry))

    def entries(self, keys: list[bytes]) -> Iterator[bytes]:
        """All entries of these segments."""
        self._rows.load(keys)
        for key in keys:
            row = self._rows.get(key)
            entries = b"" if row is None else row.entries
            for start in range(0, len(entries), self._length):
                yield entries[start : start + self._length]

    def flush(self) -> None:
        self._rows.flush()


class UsageMembers:
    """The members of all series, within a chunk."""

    def __init__(self, table: ScannedBytes) -> None:
        self._members = msgpack_rows(table, MemberRow)
        self._logs = Segments(table, MEMBER_BYTES)

    def add(self, place: SeriesDay, row: UsageDayRow, minute: int, members: Iterable[bytes]) -> bool:
        """Add the members of a minute of the day, and return whether one of them is new in it. row: of the day."""
        changed = False
        hour, bit = minute // 60, 1 << minute % 60
        keys = {place.member_key(member): member for member in members}
        self._members.load(list(keys))
        for key, member in keys.items():
            known = self._members.get(key)
            if known is None:
                known = MemberRow({})
                self._logs.append(place.log_key(row.members // SEGMENT_ENTRIES), row.members, member)
                row.members += 1
            if known.minutes.get(hour, 0) & bit:
                continue
            known.minutes[hour] = known.minutes.get(hour, 0) | bit
            self._members.put(key, known)
            changed = True
        return changed

    def between(self, place: SeriesDay, row: UsageDayRow, from_s: int, to_s: int) -> set[bytes]:
        """The members in [from_s, to_s), in seconds since 1970. row: of the day."""
        segments = -(-row.members // SEGMENT_ENTRIES)
        members = set(self._logs.entries([place.log_key(segment) for segment in range(segments)]))
        start_s = place.account.day * DAY_S
        if from_s <= start_s and start_s + DAY_S <= to_s:
            return members
        keys = {member: place.member_key(member) for member in sorted(members)}
        self._members.load(list(keys.values()))
        return {
            member for member, key in keys.items() if _was_seen(self._members.get(key), start_s, from_s, to_s)
        }

    def flush(self) -> None:
        """Write what has changed to the table."""
        self._members.flush()
        self._logs.flush()


def _was_seen(row: MemberRow | None, start_s: int, from_s: int, to_s: int) -> bool:
    """Whether a minute of the member lies in the span. start_s: of its day."""
    return row is not None and any(
        from_s <= start_s + hour * HOUR_S + minute * MINUTE_S < to_s
        for hour, minutes in row.minutes.items()
        for minute in range(60)
        if minutes >> minute & 1
    )
