"""Which customers of a partition are due when, in memory: a function of its rows.

Owns: their order. Does not own: the rows (bill_rows), what makes a customer due (customer_bills).
"""

from __future__ import annotations

import heapq
import struct
from typing import NamedTuple

from pipeline.core.bills.bill_rows import DUE, SCANNED, CustomerHead
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.bills.usage import REST_MS
from pipeline.core.values.sweep import SweepProgress
from pipeline.core.values.table import ScannedBytes

_DUE = struct.Struct(">QQ")


class BillDue(NamedTuple):
    """When a customer is due: at `due_ms`, or once usage is settled up to `waits_ms`. NEVER_MS: not."""

    due_ms: int = NEVER_MS
    waits_ms: int = NEVER_MS

    def packed(self) -> bytes:
        """The bytes of its row."""
        return _DUE.pack(*self)


NOT_DUE = BillDue()


def due_of(head: CustomerHead, now_ms: int) -> BillDue:
    """When a customer is due next. now_ms: the time of the record that changed it."""
    waits_ms = min((one.waits_ms for one in head.open.values()), default=NEVER_MS)
    due_ms = min(
        now_ms if head.stale_meters else NEVER_MS,
        head.lines_ms,
        head.running_ms,
        NEVER_MS if head.credits_ms is None else head.credits_ms,
        *head.ended.values(),
        *head.collect_ms.values(),
        *(one.due_ms for one in head.open.values()),
    )
    return BillDue(due_ms, waits_ms)


class BillIndex:
    """The customers of one partition, by the bytes of their keys."""

    def __init__(self) -> None:
        self._due: dict[bytes, BillDue] = {}
        self._by_time: list[tuple[int, bytes]] = []
        self._by_usage: list[tuple[int, bytes]] = []
        self.settled_ms = 0
        self.usage_sweep = SweepProgress(REST_MS)  # how far usage that is too old was removed

    def load(self, table: ScannedBytes) -> None:
        """Fill an empty index from the committed rows."""
        start = DUE
        while rows := [row for row in table.scan(start, SCANNED) if row[0].startswith(DUE)]:
            for key, value in rows:
                self.set(key[1:], BillDue(*_DUE.unpack(value)))
            start = rows[-1][0] + b"\x00"

    def __len__(self) -> int:
        """How many customers are due at some time."""
        return len(self._due)

    def of(self, customer: bytes) -> BillDue:
        """When a customer is due."""
        return self._due.get(customer, NOT_DUE)

    def set(self, customer: bytes, due: BillDue) -> None:
        """A customer is due at another time than before."""
        if due == NOT_DUE:
            self._due.pop(customer, None)
            return
        self._due[customer] = due
        if due.due_ms < NEVER_MS:
            heapq.heappush(self._by_time, (due.due_ms, customer))
        if due.waits_ms < NEVER_MS:
            heapq.heappush(self._by_usage, (due.waits_ms, customer))

    def take(self, now_ms: int, settled_ms: int, most: int) -> list[bytes]:
        """The customers that are due, at most `most` of them; each stays due until `set` changes it.

        Args:
            now_ms: the time that the records have reached.
            settled_ms: up to when usage is settled.
            most: how many at most.
        """
        self.settled_ms = max(self.settled_ms, settled_ms)
        found: dict[bytes, None] = {}
        for heap, place, until_ms in ((self._by_time, 0, now_ms), (self._by_usage, 1, settled_ms)):
            while heap and heap[0][0] <= until_ms and len(found) < most:
                at_ms, customer = heapq.heappop(heap)
                if self.of(customer)[place] == at_ms:
                    found[customer] = None
        return list(found)

    def next_ms(self) -> int:
        """When the first customer is due; NEVER_MS: none. 0: one whose usage is settled."""
        if self._clean(self._by_usage, 1) and self._by_usage[0][0] <= self.settled_ms:
            return 0
        return self._by_time[0][0] if self._clean(self._by_time, 0) else NEVER_MS

    def waits_ms(self) -> int:
        """The first instant up to which usage has to be settled; NEVER_MS: no draft waits for usage."""
        return self._by_usage[0][0] if self._clean(self._by_usage, 1) else NEVER_MS

    def _clean(self, heap: list[tuple[int, bytes]], place: int) -> bool:
        """Remove what is not so any more from the top of a heap, and return whether something is left."""
        while heap and self.of(heap[0][1])[place] != heap[0][0]:
            heapq.heappop(heap)
        return bool(heap)
