"""What the rules ask of a table: keyed bytes, be it an overlay over RocksDB or a dict in tests.

Owns: these protocols. Does not own: any storage (engine.table).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class KeyLookup(Protocol):
    """The part of a table that looks up keys."""

    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """The value of each key, None where there is none, in the order of `keys`."""
        ...


class KeyedBytes(Protocol):
    """Keyed bytes that are read and written."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none, in the order of `keys`."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Writes one value in place of the one before."""
        ...

    def delete(self, key: bytes) -> None:
        """Removes a key, which may be absent."""
        ...


class CurrentTable:
    """The table of the present chunk, for what stays in memory from chunk to chunk. `table` is set for each."""

    def __init__(self, table: KeyedBytes) -> None:
        self.table = table

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """As KeyedBytes."""
        return self.table.get_many(keys)

    def put(self, key: bytes, value: bytes) -> None:
        """As KeyedBytes."""
        self.table.put(key, value)

    def delete(self, key: bytes) -> None:
        """As KeyedBytes."""
        self.table.delete(key)


class ScannedBytes(KeyedBytes, Protocol):
    """A table that can also be read in the order of its keys."""

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` committed items from `start` on; what this transaction wrote may be missing."""
        ...
