"""Rows within a chunk: each is read once, and written once by `flush`."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.values.cached_rows import json_rows, msgpack_rows

KINDS = {"json": (json_rows, msgspec.json.encode), "msgpack": (msgpack_rows, msgspec.msgpack.encode)}


class Row(msgspec.Struct, array_like=True):
    number: int


class Rows:
    """Rows in memory, and how often each was read and written."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []
        self.writes: list[bytes] = []

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        self.reads += keys
        return [self.rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.writes.append(key)
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.writes.append(key)
        self.rows.pop(key, None)

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return sorted(item for item in self.rows.items() if item[0] >= start)[:limit]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_read_once_and_written_once(kind: str) -> None:
    cached, encode = KINDS[kind]
    table = Rows()
    table.rows = {b"a": encode(Row(1)), b"b": encode(Row(2))}
    rows = cached(table, Row)
    rows.load([b"a", b"b", b"a", b"c"])
    assert [rows.get(key) for key in (b"a", b"b", b"c", b"d")] == [Row(1), Row(2), None, None]
    assert table.reads == [b"a", b"b", b"c", b"d"]
    rows.put(b"a", Row(3))
    rows.put(b"a", Row(4))
    rows.put(b"b", None)
    assert (rows.get(b"a"), rows.get(b"b"), table.writes) == (Row(4), None, [])
    rows.flush()
    rows.flush()
    assert table.rows == {b"a": encode(Row(4))}
    assert table.writes == [b"a", b"b"]
