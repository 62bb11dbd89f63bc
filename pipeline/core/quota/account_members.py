"""The members of a UNIQUE_COUNT account in state: in which minutes each one counts, and a log of all its minutes.

Owns: keys and bytes of both, which minute of a usage period counts. Does not own: usage by minute and hour
(account_usage), which also holds how long the log of an hour is.

A member counts in the first minute of each usage period in which it was seen. Its other minutes are in the log, so that
the same usage can be counted by other periods.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pipeline.core.values import calendar, number
from pipeline.core.values.calendar import HOUR_S, MINUTE_S, Schedule
from pipeline.core.values.table import KeyedBytes

# Entries in one value of the log. An entry has 17 bytes, so each new member writes 3.4 kB at most.
SEGMENT_ENTRIES = 200
ONE = number.SCALE
SeenMember = tuple[int, bytes]  # the minute in seconds since 1970, and 16 bytes of the member

_SEGMENT = struct.Struct(">cII")
_ENTRY = struct.Struct(">B16s")
_encode = msgspec.msgpack.Encoder().encode
_minutes = msgspec.msgpack.Decoder(list[int]).decode


class AccountMembers:
    """The members of one account."""

    def __init__(self, table: KeyedBytes, account: bytes) -> None:
        self._table = table
        self._account = account

    def count(
        self, seen: Sequence[SeenMember], schedule: Schedule, since_s: int
    ) -> tuple[list[tuple[int, int]], dict[int, list[SeenMember]]]:
        """Count members.

        Args:
            seen: in any order.
            schedule: the usage periods.
            since_s: minutes before it are not needed.

        Returns:
            The change of each minute in atto, and what is to be logged, by hour.
        """
        members = sorted({member for _, member in seen})
        stored = self._table.get_many([self._key(member) for member in members])
        counted = {
            member: [] if value is None else _minutes(value)
            for member, value in zip(members, stored, strict=True)
        }
        changes: list[tuple[int, int]] = []
        logged: dict[int, list[SeenMember]] = {}
        for minute_s, member in seen:
            first_s = first_in_period(counted[member], minute_s, schedule)
            if first_s == minute_s:
                continue
            logged.setdefault(minute_s // HOUR_S * HOUR_S, []).append((minute_s, member))
            if first_s is None or minute_s < first_s:
                if first_s is not None:
                    counted[member].remove(first_s)
                    changes.append((first_s, -ONE))
                counted[member].append(minute_s)
                changes.append((minute_s, ONE))
        self.write(
            {
                member: sorted(at_s for at_s in minutes if at_s >= since_s)
                for member, minutes in counted.items()
            }
        )
        return changes, logged

    def write(self, counted: Mapping[bytes, Sequence[int]]) -> None:
        """Write in which minutes members count."""
        for member, minutes in counted.items():
            self._table.put(self._key(member), _encode(minutes))

    def forget(self, members: Iterable[bytes], before_s: int) -> None:
        """Remove the minutes before an instant in which these members count."""
        keys = [self._key(member) for member in sorted(members)]
        for key, value in zip(keys, self._table.get_many(keys) if keys else [], strict=True):
            if value is None:
                continue
            if needed := [minute_s for minute_s in _minutes(value) if minute_s >= before_s]:
                self._table.put(key, _encode(needed))
            else:
                self._table.delete(key)

    def append(self, start_s: int, entries: int, added: Iterable[SeenMember]) -> int:
        """Append to the log of an hour.

        Args:
            start_s: of the hour, in seconds since 1970.
            entries: how long the log is.
            added: in minutes of the hour.

        Returns:
            How long the log is afterwards.
        """
        for minute_s, member in added:
            segment, within = divmod(entries, SEGMENT_ENTRIES)
            key = self._segment_key(start_s, segment)
            before = self._table.get_many([key])[0] if within else b""
            entry = _ENTRY.pack(minute_s % HOUR_S // MINUTE_S, member)
            self._table.put(key, (before or b"") + entry)
            entries += 1
        return entries

    def log(self, start_s: int, entries: int) -> Iterator[SeenMember]:
        """The log of an hour, in the order in which it was written."""
        keys = self._segment_keys(start_s, entries)
        for value in self._table.get_many(keys) if keys else []:
            for minute, member in _ENTRY.iter_unpack(value or b""):
                yield start_s + minute * MINUTE_S, member

    def delete_log(self, start_s: int, entries: int) -> None:
        """Remove the log of an hour."""
        for key in self._segment_keys(start_s, entries):
            self._table.delete(key)

    def _key(self, member: bytes) -> bytes:
        return self._account + b"u" + member

    def _segment_keys(self, start_s: int, entries: int) -> list[bytes]:
        return [self._segment_key(start_s, segment) for segment in range(-(-entries // SEGMENT_ENTRIES))]

    def _segment_key(self, start_s: int, segment: int) -> bytes:
        return self._account + _SEGMENT.pack(b"l", start_s // MINUTE_S, segment)


def first_in_period(minutes: Sequence[int], minute_s: int, schedule: Schedule) -> int | None:
    """The minute that counts of the usage period in which `minute_s` lies.

    Args:
        minutes: those in which a member counts, one of each period.
        minute_s: in seconds since 1970.
        schedule: the usage periods.

    Returns:
        None if the member does not count in that period.
    """
    if not minutes:
        return None
    start_s, end_s = calendar.usage_period(schedule, minute_s)
    return next((first_s for first_s in minutes if start_s <= first_s < end_s), None)
