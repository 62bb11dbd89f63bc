"""Removal of expired keys from a table: one bounded slice a chunk, from front to end, then a rest.

Owns: which keys a slice visits, where the next slice begins, when a sweep rests. Does not own: what has expired
(the caller), the table (engine.table).

A slice sees committed entries only, so what a chunk writes itself is visited by a later slice, and what was removed by
a chunk that did not commit is removed by the next sweep. The position is in memory: after a restart a sweep begins at
the front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipeline.core.values.table import ScannedBytes


class Swept(NamedTuple):
    """A slice: the keys that it removed, and the key at which the next one begins; empty: the end was reached."""

    removed: list[bytes]
    next_key: bytes


def sweep(
    table: ScannedBytes,
    limit: int,
    is_expired: Callable[[bytes, bytes], bool] = lambda key, value: True,
    *,
    prefix: bytes = b"",
    start: bytes = b"",
    is_young: Callable[[bytes], bool] = lambda key: False,
) -> Swept:
    """Visits at most `limit` committed entries and removes those that have expired.

    Args:
        table: Its entries are visited in the order of their keys.
        limit: How many entries are read.
        is_expired: Of a key and its committed value.
        prefix: Only keys that begin so are visited.
        start: The `next_key` of the slice before; empty: the first key with the prefix.
        is_young: For keys in the order of age: whether this one and all behind it are kept. It ends the sweep.

    Returns:
        What was removed, in order. The end is reached at a young key, behind the prefix, or with fewer than `limit`
        entries.

    >>> class Table(dict):
    ...     delete = dict.pop
    ...     def scan(self, start, limit):
    ...         return sorted((key, value) for key, value in self.items() if key >= start)[:limit]
    >>> table = Table({b"a1": b"", b"a2": b"", b"a3": b"", b"b1": b""})
    >>> sweep(table, 2, lambda key, _: key != b"a2", prefix=b"a")
    Swept(removed=[b'a1'], next_key=b'a2\\x00')
    >>> sweep(table, 2, lambda key, _: key != b"a2", prefix=b"a", start=b"a2\\x00")
    Swept(removed=[b'a3'], next_key=b'')
    >>> sorted(table)
    [b'a2', b'b1']
    """
    rows = table.scan(start or prefix, limit)
    removed: list[bytes] = []
    for key, value in rows:
        if not key.startswith(prefix) or is_young(key):
            return Swept(removed, b"")
        if is_expired(key, value):
            table.delete(key)
            removed.append(key)
    return Swept(removed, rows[-1][0] + b"\x00" if len(rows) == limit else b"")


class SweepProgress:
    """Where the sweep of each partition continues, and until when it rests.

    Args:
        rest: How long a sweep rests after its end, in the unit of `now`.
    """

    def __init__(self, rest: int) -> None:
        self._rest = rest
        self._next_key: dict[int, bytes] = {}
        self._resting_until: dict[int, int] = {}

    def advance(self, partition: int, now: int, sweep_from: Callable[[bytes], Swept]) -> list[bytes]:
        """Sweeps the next slice unless the partition rests.

        Args:
            partition: Of the input that the table belongs to.
            now: The broker's time, or any number that only grows.
            sweep_from: Sweeps one slice from a key on.

        Returns:
            The keys that were removed.
        """
        if now < self._resting_until.get(partition, now):
            return []
        removed, next_key = sweep_from(self._next_key.get(partition, b""))
        self._next_key[partition] = next_key
        if not next_key:
            self._resting_until[partition] = now + self._rest
        return removed
