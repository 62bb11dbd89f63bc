"""Rows of one kind, cached while a chunk is applied, or longer where nothing else writes them.

Owns: reading each row once, writing each once. Does not own: keys, which kinds there are, the table (engine.table).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from pipeline.core.values.table import KeyedBytes

encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode
R = TypeVar("R")


class CachedRows(Generic[R]):
    """Rows of one kind within a chunk: each is decoded once and written once, by `flush`."""

    def __init__(self, table: KeyedBytes, decode: Callable[[bytes], R], encode: Callable[[R], bytes]) -> None:
        self._table, self._decode, self._encode = table, decode, encode
        self._rows: dict[bytes, R | None] = {}
        self._changed: dict[bytes, None] = {}
        self._sizes: dict[bytes, int] = {}
        self.stored_bytes = 0  # of the rows in memory, as they are in the table

    def __len__(self) -> int:
        """How many rows are in memory."""
        return len(self._rows)

    def load(self, keys: list[bytes]) -> None:
        """Read several rows at once."""
        if missing := [key for key in dict.fromkeys(keys) if key not in self._rows]:
            for key, value in zip(missing, self._table.get_many(missing), strict=True):
                self._rows[key] = None if value is None else self._decode(value)
                self._weigh(key, value)

    def get(self, key: bytes) -> R | None:
        """A row. One whose type is not frozen may be changed and then `put`."""
        if key not in self._rows:
            self.load([key])
        return self._rows[key]

    def put(self, key: bytes, row: R | None) -> None:
        """Write a row in place of the one before; None removes it."""
        self._rows[key] = row
        self._changed[key] = None

    def flush(self) -> None:
        """Write what has changed to the table."""
        for key in self._changed:
            row = self._rows[key]
            value = None if row is None else self._encode(row)
            if value is None:
                self._table.delete(key)
            else:
                self._table.put(key, value)
            self._weigh(key, value)
        self._changed = {}

    def _weigh(self, key: bytes, value: bytes | None) -> None:
        size = 0 if value is None else len(value)
        self.stored_bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size


def json_rows(table: KeyedBytes, kind: type[R]) -> CachedRows[R]:
    """Rows as JSON."""
    return CachedRows(table, msgspec.json.Decoder(kind).decode, encode_json)


def msgpack_rows(table: KeyedBytes, kind: type[R]) -> CachedRows[R]:
    """Rows as msgpack."""
    return CachedRows(table, msgspec.msgpack.Decoder(kind).decode, _encode_msgpack)
