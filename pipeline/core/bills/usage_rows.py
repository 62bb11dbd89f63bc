"""The usage of customers for their bills, as rows of one partition's table.

Owns: keys and bytes of these rows. Does not own: what changes and sums them (usage), the members of UNIQUE_COUNT
(usage_members), the table (engine.table).

A series is the usage of one customer, meter and group of dimensions. The rows do not depend on how the meter
aggregates, so that they follow from the windows alone, whatever definitions a worker has read. Every key begins with
its day: what has expired is found by a scan from the front.

    u<day><customer><meter>a                     DirectoryRow: the series of a customer and meter on a day
    u<day><customer><meter>b<segment>            more of them, one key after the other
    u<day><customer><meter>d<series>             UsageDayRow
    u<day><customer><meter>h<series><hour>       UsageHourRow
    u<day><customer><meter>m<series><minute>     UsageCell of a minute of the day
    u<day><customer><meter>p<series><minute><part>   PartRow: one window of that minute
    u<day><customer><meter>l<series><segment>    the members of the day, one after the other
    u<day><customer><meter>u<series><member>     MemberRow
    v                                            PurgedRow
    y<namespace and meter>                       LoadedRow: the historical usage of a meter
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from pipeline.core.values.calendar import DAY_S, MINUTE_S

USAGE, PURGED, LOADED = b"u", b"v", b"y"
CUSTOMER_BYTES, SERIES_BYTES, PART_BYTES, MEMBER_BYTES = 16, 8, 8, 16

_ACCOUNT_DAY = struct.Struct(f">cI{CUSTOMER_BYTES}sQ")
_DAY = struct.Struct(">cI")
_CUSTOMER = slice(_DAY.size, _DAY.size + CUSTOMER_BYTES)
_SEGMENT, _MINUTE = struct.Struct(">I"), struct.Struct(">H")
_KEYS_KEPT = 1 << 14  # the same few customers are asked for by every record
_encode = msgspec.msgpack.Encoder().encode


class UsageCell(msgspec.Struct, gc=False, array_like=True):
    """The usage of a minute, an hour or a day of one series. Numbers are plain decimal text, empty where there is none.

    Attributes:
        sum: of the values of all windows. count: of their events.
        low, high: the lowest and the highest value that a window had.
        order, latest: of LATEST: the value with the highest order.
    """

    sum: str = "0"
    count: int = 0
    low: str = ""
    high: str = ""
    order: str = ""
    latest: str = ""


class UsageHourRow(msgspec.Struct, gc=False, array_like=True):
    """minutes: bit n is set where minute n has usage."""

    cell: UsageCell
    minutes: int = 0


class UsageDayRow(msgspec.Struct, gc=False, array_like=True):
    """hours: bit n is set where hour n has usage. members: how many different ones the day has.

    seen: the highest revision of its windows in each partition of `events-unique`; under BACKFILLED that of windows
    which a backfill counted. Without those that a version before this member took.
    """

    dimensions: dict[str, str]
    cell: UsageCell
    hours: int = 0
    members: int = 0
    seen: dict[int, int] = {}


class PartRow(msgspec.Struct, gc=False, array_like=True):
    """The newest state of a window. value: plain decimal text."""

    revision: int
    value: str
    count: int


class MemberRow(msgspec.Struct, gc=False, array_like=True):
    """A member on a day. minutes: by hour of the day; bit n is set where it was seen in minute n."""

    minutes: dict[int, int]


class DirectoryRow(msgspec.Struct, gc=False, array_like=True):
    """The first series of a customer and meter on a day, and how many there are in total."""

    first: list[bytes]
    total: int = 0


class PurgedRow(msgspec.Struct, gc=False, array_like=True):
    """day: the newest one of which rows were removed, in days since 1970."""

    day: int


class LoadedRow(msgspec.Struct, gc=False, array_like=True):
    """revision: of the definitions; the usage of every subject that had a customer by then was loaded."""

    revision: int


class SegmentRow(msgspec.Struct, gc=False, array_like=True):
    """A part of a list: its entries, one after the other."""

    entries: bytes


class AccountDay(NamedTuple):
    """A day of a customer's usage of one meter. customer: `customer_key`. day: since 1970."""

    customer: bytes
    meter_id: int
    day: int

    @property
    def key(self) -> bytes:
        """What the keys of its rows begin with."""
        return _ACCOUNT_DAY.pack(USAGE, self.day, self.customer, self.meter_id)

    @property
    def series_prefix(self) -> bytes:
        """What the keys of its series (UsageDayRow) begin with; the rest is their `series_key`."""
        return self.key + b"d"


class SeriesDay(NamedTuple):
    """A day of a series. series: `series_key`."""

    account: AccountDay
    series: bytes

    @property
    def key(self) -> bytes:
        return self.account.series_prefix + self.series

    def hour_key(self, hour: int) -> bytes:
        """hour: of the day."""
        return self.account.key + b"h" + self.series + bytes((hour,))

    def minute_key(self, minute: int) -> bytes:
        """minute: of the day."""
        return self.account.key + b"m" + self.series + _MINUTE.pack(minute)

    def part_key(self, minute: int, part: bytes) -> bytes:
        """minute: of the day. part: `part_key`."""
        return self.account.key + b"p" + self.series + _MINUTE.pack(minute) + part

    def log_key(self, segment: int) -> bytes:
        return self.account.key + b"l" + self.series + _SEGMENT.pack(segment)

    def member_key(self, member: bytes) -> bytes:
        return self.account.key + b"u" + self.series + member


def directory_key(account: AccountDay, segment: int) -> bytes:
    """segment: 0 is the DirectoryRow."""
    return account.key + (b"b" + _SEGMENT.pack(segment) if segment else b"a")


@lru_cache(_KEYS_KEPT)
def customer_key(namespace: str, customer: str) -> bytes:
    """The bytes of a customer in keys. customer: its id."""
    return blake2b(_encode((namespace, customer)), digest_size=CUSTOMER_BYTES).digest()


def series_key(dimensions: Mapping[str, str]) -> bytes:
    """The bytes of a series in keys, within its customer and meter."""
    return blake2b(_encode(sorted(dimensions.items())), digest_size=SERIES_BYTES).digest()


def part_key(subject: str, part: int) -> bytes:
    """The bytes of a window in keys, within its minute and series."""
    return blake2b(_encode((subject, part)), digest_size=PART_BYTES).digest()


def loaded_key(namespace: str, meter_id: int) -> bytes:
    return LOADED + _encode((namespace, meter_id))


def day_of(key: bytes) -> int:
    """The day of a row, in days since 1970."""
    day: int = _DAY.unpack_from(key)[1]
    return day


def customer_of(key: bytes) -> bytes:
    """The `customer_key` of a row."""
    return key[_CUSTOMER]


def minute_of_day(at_s: int) -> int:
    """at_s: seconds since 1970."""
    return at_s % DAY_S // MINUTE_S
