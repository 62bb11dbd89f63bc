"""Removing rows of commands and results that are old, a few in each chunk.

Owns: this. Does not own: usage that is old (usage), groups that are old (subscription_sync).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Final

import msgspec

from pipeline.core.bills.bill_rows import DONE_END, RESULT, BillRows, ResultRow, done_of_end, offset_of
from pipeline.core.definitions.idempotency import KEPT_MS
from pipeline.core.values.table import ScannedBytes

AT_ONCE: Final = 2_000  # more than one chunk adds
_result = msgspec.json.Decoder(ResultRow).decode


def sweep_rows(rows: BillRows, now_ms: int, replayed_ms: int, first_offset: int) -> None:
    """Remove some old rows.

    Args:
        rows: of the partition.
        now_ms: the time that the records have reached.
        replayed_ms: for how long results of records are kept.
        first_offset: of the chunk: its own results are kept, since its records may be read again in smaller chunks.
    """

    def is_old(key: bytes, value: bytes) -> bool:
        return offset_of(key) < first_offset and _result(value).at_ms + replayed_ms <= now_ms

    for key, _ in _old(rows.table, RESULT, is_old):
        rows.results.put(key, None)
    for key, _ in _old(rows.table, DONE_END, lambda key, _: done_of_end(key)[0] <= now_ms):
        rows.table.delete(key)
        done = done_of_end(key)[1]
        row = rows.done.get(done)
        if row is not None and row.at_ms + KEPT_MS <= now_ms:
            rows.done.put(done, None)


def _old(
    table: ScannedBytes, prefix: bytes, is_old: Callable[[bytes, bytes], bool]
) -> Iterator[tuple[bytes, bytes]]:
    """The first rows of a kind, as long as they are old; in most chunks there is none."""
    for most in (1, AT_ONCE):
        rows = [row for row in table.scan(prefix, most) if row[0].startswith(prefix)]
        if not rows or not is_old(*rows[0]):
            return
    yield from takewhile(lambda row: is_old(*row), rows)
