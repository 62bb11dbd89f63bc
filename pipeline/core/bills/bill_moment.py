"""The record that is applied.

Owns: its offset and the times that count for it. Does not own: what it does (bill_table).
"""

from __future__ import annotations

from typing import NamedTuple


class BillMoment(NamedTuple):
    """The record that is applied.

    Attributes:
        offset: in `billing-work`.
        now_ms: the time that the records have reached with it.
        settled_ms: up to when usage is settled.
        first_offset: of the chunk; the results of earlier ones are committed.
        close_ms: from when on an invoice is closed that ends with the record.
        now: the time as documents write it.
    """

    offset: int
    now_ms: int
    settled_ms: int
    first_offset: int
    close_ms: int
    now: str

    @property
    def now_s(self) -> int:
        return self.now_ms // 1000
