"""Which lanes of a partition may send next, in memory: a function of its rows.

Owns: the order of lanes, which of them wait for a definition, which have a request in progress. Does not own: the rows
(stripe_rows), why a lane waits (stripe_table). It is as large as the lanes that have something to send.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from pipeline.core.billing.stripe_mappings import Touched
from pipeline.core.billing.stripe_rows import (
    BILLING,
    DUE,
    LANE_BYTES,
    REFUSED,
    REQUEST,
    RefusedRow,
    due_place,
)
from pipeline.core.values.cached_rows import msgpack_rows
from pipeline.core.values.table import ScannedBytes

SCANNED = 1_000
NEVER_MS = 1 << 62


class LaneName(NamedTuple):
    """What a lane needs to be sent: a customer of the namespace, a mapping, and the mapping's app."""

    namespace: str
    customer: str
    mapping: str
    app: str

    def needs(self, touched: Touched) -> bool:
        """Whether the lane depends on a definition."""
        return touched.namespace == self.namespace and touched.name == getattr(self, touched.kind)


class StripeIndex:
    """The lanes of one partition."""

    def __init__(self) -> None:
        self.busy: set[bytes] = set()  # with a request in progress
        self.bills: set[bytes] = (
            set()
        )  # customers and apps with a call for an invoice in progress (stripe_bills)
        self.parked: dict[bytes, LaneName] = {}  # waiting for a definition
        self.refused: dict[bytes, LaneName] = {}  # with units that Stripe refused
        self._ready: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def load(self, table: ScannedBytes) -> None:
        """Fill an empty index from the committed rows."""
        self.busy = set(lanes_of(table, REQUEST))
        self.bills = set(lanes_of(table, BILLING))
        rows = msgpack_rows(table, RefusedRow)
        for lane in lanes_of(table, REFUSED):
            row = rows.get(REFUSED + lane)
            if row is not None:
                self.refused[lane] = LaneName(row.namespace, row.customer, row.mapping, row.app)
        start = DUE
        while (found := table.scan(start, 1)) and found[0][0].startswith(DUE):
            (account, _), ready_ms = due_place(found[0][0])
            lane = account[:LANE_BYTES]
            self.set(lane, ready_ms)
            start = DUE + lane + b"\xff" * 24  # behind the rows of the lane

    def set(self, lane: bytes, ready_ms: int) -> None:
        """The lane may send from `ready_ms` on, if that is earlier than what is known of it."""
        if lane not in self.parked and ready_ms < self._ready.get(lane, NEVER_MS):
            self._ready[lane] = ready_ms
            heapq.heappush(self._heap, (ready_ms, lane))

    def park(self, lane: bytes, name: LaneName) -> None:
        """The lane sends nothing before a definition that it needs has changed."""
        self._ready.pop(lane, None)
        self.parked[lane] = name

    def unpark(self, needs: Callable[[LaneName], bool], now_ms: int) -> None:
        """Let lanes try again."""
        for lane in [lane for lane, name in self.parked.items() if needs(name)]:
            del self.parked[lane]
            self.set(lane, now_ms)

    def take(self, now_ms: int, most: int) -> list[bytes]:
        """Remove and return the lanes that may send at `now_ms`, at most `most` of them."""
        found: list[bytes] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < most:
            ready_ms, lane = heapq.heappop(self._heap)
            if self._ready.get(lane) == ready_ms:
                del self._ready[lane]
                found.append(lane)
        return found

    def next_ms(self) -> int:
        """When the first lane may send; NEVER_MS: none."""
        while self._heap and self._ready.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER_MS

    @property
    def waiting(self) -> int:
        """How many lanes have something to send and no request in progress."""
        return len(self._ready) + len(self.parked)


def lanes_of(table: ScannedBytes, prefix: bytes) -> list[bytes]:
    """The lanes with a committed row of a kind."""
    found: list[bytes] = []
    start = prefix
    while rows := [key for key, _ in table.scan(start, SCANNED) if key.startswith(prefix)]:
        found += [key[1:] for key in rows]
        start = rows[-1] + b"\x00"
    return found
