"""The state of one partition within a chunk: its rows, and what the chunk has changed of them.

Owns: when a window may be sent, which windows and lanes are published after the chunk. Does not own: what records
change (stripe_table, stripe_lanes), the layout of rows (stripe_rows).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_mappings import StripeDefinitions
from pipeline.core.billing.stripe_rows import (
    ACCOUNT,
    LANE_BYTES,
    PARTITION,
    REQUEST,
    AccountRow,
    PartitionRow,
    RequestRow,
    StripeRows,
    WindowPlace,
    WindowRow,
    window_key,
)
from pipeline.core.billing.stripe_window import OLDEST_MS, StripeRequest, StripeWindow
from pipeline.core.values.table import ScannedBytes
from pipeline.records import StripeUsage

DAY_MS = 86_400_000


class StripeTerms(NamedTuple):
    """How long things wait.

    Attributes:
        grace_ms: from the end of a window until it is sent.
        pause_ms: from a later change of it until that is sent.
        kept_ms: from the start of a window until its rows are removed; longer than usage may be late.
    """

    grace_ms: int = 60_000
    pause_ms: int = 10_000
    kept_ms: int = OLDEST_MS + DAY_MS


class StripeFlight(NamedTuple):
    """The request that a lane has in progress, for the dispatcher."""

    lane: bytes
    sent: RequestRow
    request: StripeRequest

    @property
    def app(self) -> tuple[str, str]:
        """Its namespace and id."""
        return self.sent.namespace, self.sent.app

    @property
    def key(self) -> str:
        """What makes a repeat of the call safe."""
        return self.sent.identifier

    @property
    def next_at_ms(self) -> int:
        return self.request.next_at_ms

    @property
    def attempts(self) -> int:
        return self.request.attempts


class StripeState:
    """Rows, index, definitions and terms, with what has changed."""

    def __init__(
        self, table: ScannedBytes, index: StripeIndex, definitions: StripeDefinitions, terms: StripeTerms
    ) -> None:
        self.rows = StripeRows(table)
        self.index = index
        self.definitions = definitions
        self.terms = terms
        self.partition = self.rows.partition.get(PARTITION) or PartitionRow()
        self.changed: dict[WindowPlace, None] = {}
        self.lanes: dict[bytes, None] = {}
        self._unsendable: dict[WindowPlace, int] = {}  # of rows that are being changed, before
        self.unsendable: dict[str, int] = {}  # units that Stripe does not take, by cause

    @property
    def now_ms(self) -> int:
        """The time that the records have reached."""
        return self.partition.now_ms

    def begin(self, offset: int, at_ms: int) -> bool:
        """Whether a record is new; time moves on to that of a new one."""
        if offset <= self.partition.applied:
            return False
        self.partition.applied = offset
        self.partition.now_ms = max(self.partition.now_ms, at_ms)
        self.rows.partition.put(PARTITION, self.partition)
        return True

    def window(self, place: WindowPlace) -> WindowRow:
        """The row of a window, which may be changed and then written."""
        row = self.rows.windows.get(window_key(place)) or WindowRow(StripeWindow())
        self._unsendable[place] = row.window.unsendable
        return row

    def write(self, place: WindowPlace, row: WindowRow, window_s: int, pause_ms: int | None = None) -> None:
        """Keep a changed window, and let it be sent where it has open units.

        Args:
            place: of the window.
            row: as it is to be.
            window_s: its seconds.
            pause_ms: until it may be sent, where it ended long ago; None: that of the terms.
        """
        row.applied, row.at_ms = self.partition.applied, self.now_ms
        given_up = abs(row.window.unsendable - self._unsendable.pop(place, row.window.unsendable))
        if given_up and row.window.cause:
            self.unsendable[row.window.cause] = self.unsendable.get(row.window.cause, 0) + given_up
        is_open = row.window.is_due
        if is_open and not row.ready_at_ms:
            pause_ms = self.terms.pause_ms if pause_ms is None else pause_ms
            row.ready_at_ms = max((place[1] + window_s) * 1_000 + self.terms.grace_ms, self.now_ms + pause_ms)
            self.rows.add_due(place, row.ready_at_ms)
            self.index.set(place[0][:LANE_BYTES], row.ready_at_ms)
        elif row.ready_at_ms and not is_open:
            self.rows.remove_due(place, row.ready_at_ms)
            row.ready_at_ms = 0
        self.rows.windows.put(window_key(place), row)
        self.changed[place] = None

    def flight(self, lane: bytes) -> StripeFlight | None:
        """The request that a lane has in progress."""
        return _flight(self.rows, lane)

    def usage(self) -> list[StripeUsage]:
        """The changed windows in their newest state."""
        self.rows.windows.load([window_key(place) for place in self.changed])
        self.rows.accounts.load([ACCOUNT + account for account, _ in self.changed])
        found = []
        for place in self.changed:
            row = self.rows.windows.get(window_key(place))
            account = self.rows.accounts.get(ACCOUNT + place[0])
            if row is not None and account is not None:
                found.append(_shown(account, place[1], row))
        return found


def _shown(account: AccountRow, start_s: int, row: WindowRow) -> StripeUsage:
    window = row.window
    return StripeUsage(
        namespace=account.namespace,
        app=account.app,
        mapping=account.mapping,
        meter=account.meter,
        customer=account.customer,
        dimensions=account.dimensions,
        start_s=start_s,
        end_s=start_s + account.window_s,
        exact=window.exact,
        wanted=window.wanted,
        confirmed=window.confirmed,
        unsendable=window.unsendable,
        pending=window.request.units if window.request else 0,
        cause=window.cause,
        message=window.message,
        requests=window.revision,
        revision=row.applied,
        at_ms=row.at_ms,
    )


def in_progress(table: ScannedBytes, limit: int = 500) -> Iterator[list[StripeFlight]]:
    """The requests in progress of a partition, as they are in the committed rows, in batches."""
    start = REQUEST
    while keys := [key for key, _ in table.scan(start, limit) if key.startswith(REQUEST)]:
        rows = StripeRows(table)
        rows.requests.load(keys)
        yield [flight for key in keys if (flight := _flight(rows, key[1:])) is not None]
        start = keys[-1] + b"\x00"


def _flight(rows: StripeRows, lane: bytes) -> StripeFlight | None:
    sent = rows.requests.get(REQUEST + lane)
    if sent is None:
        return None
    row = rows.windows.get(window_key((sent.account, sent.start_s)))
    request = None if row is None else row.window.request
    return None if request is None else StripeFlight(lane, sent, request)
