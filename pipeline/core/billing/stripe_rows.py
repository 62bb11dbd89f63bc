"""The state of usage on its way to Stripe, as rows of one partition's table.

Owns: keys and bytes of the rows. Does not own: what changes them (stripe_table), the rows
of usage by minute (quota.account_usage), the table (engine.table).

A lane is a customer and a mapping: Stripe takes one meter event of a customer and meter at a time. An account is a lane
and the values of the dimensions that are sent. A row without dimensions takes about 250 bytes a window.

    p                          PartitionRow
    a<account>                 AccountRow
    u<account>...              usage by minute and hour
    w<account><start>          WindowRow
    g<lane><start>             units that Stripe confirmed, by its customer, of all accounts of the lane
    d<lane><ready><account's end><start>   a window with units to send, in the order in which it may be
    r<lane>                    RequestRow: the lane's request in progress
    f<lane>                    RefusedRow: the lane has units that Stripe refused
    i<identifier>              account and start of the window of a request
    s<mapping>                 up to which control revision the mapping's historical usage was loaded
    b<lane>, n<lane><invoice>  invoices of a customer and an app (stripe_bills)
    q<lane>                    such a lane has a call in progress
"""

from __future__ import annotations

import struct
from hashlib import blake2b

import msgspec

from pipeline.core.billing.stripe_window import StripeWindow
from pipeline.core.values.cached_rows import msgpack_rows
from pipeline.core.values.table import ScannedBytes

PARTITION = b"p"
ACCOUNT, USAGE, WINDOW, GROUP, DUE, REQUEST, REFUSED, IDENTIFIER, SEEDED = (
    b"a", b"u", b"w", b"g", b"d", b"r", b"f", b"i", b"s",
)  # fmt: skip
BILLING = b"q"
LANE_BYTES, REST_BYTES = 12, 8
ACCOUNT_BYTES = LANE_BYTES + REST_BYTES

_START, _READY = struct.Struct(">I"), struct.Struct(">Q")
encode = msgspec.msgpack.Encoder().encode

WindowPlace = tuple[bytes, int]  # account and start of a window


class PartitionRow(msgspec.Struct, array_like=True):
    """applied: offset of the last record in the state. now_ms: the time that the records have reached."""

    applied: int = -1
    now_ms: int = 0


class AccountRow(msgspec.Struct, array_like=True):
    """A customer's usage that is sent to one meter of Stripe with the same dimensions.

    Attributes:
        dimensions: by member of the payload, sorted.
        window_s: seconds of a window.
        from_s: start of the first window that is sent; since_s: usage before it was purged.
        carry: what is less than a unit, in 10^-36 of one, as text.
    """

    namespace: str
    customer: str
    mapping: str
    app: str
    meter: str
    dimensions: dict[str, str]
    window_s: int
    from_s: int
    since_s: int
    carry: str = "0"


class WindowRow(msgspec.Struct, array_like=True):
    """A window and when it changed.

    Attributes:
        ready_at_ms: when it may be sent, and that of its row in DUE; 0: nothing is open.
        applied, at_ms: offset and time of the record that changed it last.
        blocked_customer: Stripe's id of the customer whose sum blocked the window; empty: none did.
    """

    window: StripeWindow
    ready_at_ms: int = 0
    applied: int = -1
    at_ms: int = 0
    blocked_customer: str = ""


class RequestRow(msgspec.Struct, array_like=True):
    """The bytes of a request, and to which account of Stripe they go. They never change.

    Attributes:
        account, start_s, window_s: of the window.
        stripe_customer: Stripe's id; stripe_meter: likewise.
        payload: of the event, with the units.
    """

    namespace: str
    customer: str
    mapping: str
    app: str
    account: bytes
    start_s: int
    window_s: int
    stripe_meter: str
    stripe_customer: str
    event_name: str
    payload: dict[str, str]
    identifier: str


class RefusedRow(msgspec.Struct, array_like=True):
    """revision: of the definition of the customer's Stripe id when it was refused."""

    namespace: str
    customer: str
    mapping: str
    app: str
    revision: int


class GroupRow(msgspec.Struct, array_like=True):
    """units: confirmed in one window, by Stripe's id of the customer, of all accounts of the lane."""

    units: dict[str, int]


class IdentifierRow(msgspec.Struct, array_like=True):
    """A request that was made.

    Attributes:
        reported: a report of Stripe that it did not count the request changes nothing more: there was one, or the
            request ended without being confirmed.
        revision: of the request within its window; 0: unknown.
    """

    account: bytes
    start_s: int
    units: int
    stripe_customer: str
    reported: bool = False
    revision: int = 0


class SeededRow(msgspec.Struct, array_like=True):
    revision: int


def lane_of(namespace: str, customer: str, mapping: str) -> bytes:
    """The key of a lane."""
    return blake2b(encode((namespace, customer, mapping)), digest_size=LANE_BYTES).digest()


def account_of(lane: bytes, dimensions: dict[str, str]) -> bytes:
    """The key of an account. dimensions: by member of the payload."""
    return lane + blake2b(encode(sorted(dimensions.items())), digest_size=REST_BYTES).digest()


def window_key(place: WindowPlace) -> bytes:
    return WINDOW + place[0] + _START.pack(place[1])


def window_place(key: bytes) -> WindowPlace:
    """Inverse of `window_key`."""
    return key[1 : 1 + ACCOUNT_BYTES], _START.unpack(key[1 + ACCOUNT_BYTES :])[0]


def group_key(lane: bytes, start_s: int) -> bytes:
    return GROUP + lane + _START.pack(start_s)


def group_start(key: bytes) -> int:
    """The start of the window of a row of GROUP."""
    return int(_START.unpack(key[-4:])[0])


def due_key(place: WindowPlace, ready_at_ms: int) -> bytes:
    account, start_s = place
    return DUE + account[:LANE_BYTES] + _READY.pack(ready_at_ms) + account[LANE_BYTES:] + _START.pack(start_s)


def due_place(key: bytes) -> tuple[WindowPlace, int]:
    """Inverse of `due_key`: the window, and when it may be sent."""
    lane, at = key[1 : 1 + LANE_BYTES], 1 + LANE_BYTES
    (ready_at_ms,) = _READY.unpack(key[at : at + 8])
    (start_s,) = _START.unpack(key[at + 8 + REST_BYTES :])
    return (lane + key[at + 8 : at + 8 + REST_BYTES], start_s), ready_at_ms


def identifier_key(identifier: str) -> bytes:
    return IDENTIFIER + identifier.encode()


def seeded_key(namespace: str, mapping: str) -> bytes:
    return SEEDED + encode((namespace, mapping))


class StripeRows:
    """All rows within a chunk. `due` holds the keys of DUE that the chunk wrote, which a scan does not see."""

    def __init__(self, table: ScannedBytes) -> None:
        self.table = table
        self.partition = msgpack_rows(table, PartitionRow)
        self.accounts = msgpack_rows(table, AccountRow)
        self.windows = msgpack_rows(table, WindowRow)
        self.groups = msgpack_rows(table, GroupRow)
        self.requests = msgpack_rows(table, RequestRow)
        self.refused = msgpack_rows(table, RefusedRow)
        self.identifiers = msgpack_rows(table, IdentifierRow)
        self.seeded = msgpack_rows(table, SeededRow)
        self._due: dict[bytes, dict[bytes, bool]] = {}  # by lane: a key of DUE, and whether it is there

    def add_due(self, place: WindowPlace, ready_at_ms: int) -> None:
        """A window may be sent from `ready_at_ms` on."""
        self._set_due(place, ready_at_ms, True)

    def remove_due(self, place: WindowPlace, ready_at_ms: int) -> None:
        self._set_due(place, ready_at_ms, False)

    def _set_due(self, place: WindowPlace, ready_at_ms: int, is_there: bool) -> None:
        key = due_key(place, ready_at_ms)
        self._due.setdefault(place[0][:LANE_BYTES], {})[key] = is_there
        if is_there:
            self.table.put(key, b"1")
        else:
            self.table.delete(key)

    def first_due(self, lane: bytes) -> tuple[WindowPlace, int] | None:
        """The window of a lane that may be sent first, and when; None: nothing is open."""
        written, prefix = self._due.get(lane, {}), DUE + lane
        first = min((key for key, is_there in written.items() if is_there), default=None)
        start = prefix
        while rows := self.table.scan(start, 8 + len(written)):
            for key, _ in rows:
                if not key.startswith(prefix) or (first is not None and key >= first):
                    return None if first is None else due_place(first)
                if written.get(key, True):
                    return due_place(key)
            start = rows[-1][0] + b"\x00"
        return None if first is None else due_place(first)

    def flush(self) -> None:
        for rows in (
            self.partition, self.accounts, self.windows, self.groups, self.requests, self.refused, self.identifiers,
            self.seeded,
        ):  # fmt: skip
            rows.flush()
