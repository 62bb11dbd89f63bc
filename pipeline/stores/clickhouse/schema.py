"""Creates the tables of ClickHouse, and adds the columns and indexes that the schema files declare.

Owns: the schema files, and which of their statements a database still needs. Does not own: the connection
(clickhouse.native, clickhouse.http), the contents of rows (stores.clickhouse.rows).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import Broken, Unavailable
from pipeline.stores.clickhouse.client import ClickHouse

SCHEMA_FOLDER = Path(__file__).parents[3] / "schemas" / "clickhouse"

_NEWER_FROM = 21  # first major version that supports 2-newer.sql
_FREE_BYTES = 16 << 20
_TABLES = "SELECT name FROM system.tables WHERE database = currentDatabase()"
_COLUMNS = "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
_INDEXES = "SELECT table, name FROM system.data_skipping_indices WHERE database = currentDatabase()"
_FREE = "SELECT toUInt64(min(free_space)) FROM system.disks"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_INDEX = re.compile(r"ALTER TABLE (\w+) ADD INDEX IF NOT EXISTS (\w+)")


def ensure_tables(store: ClickHouse) -> None:
    """Create the tables, columns and indexes that the database lacks.

    A statement without effect is not run: on a full disk, an ALTER leaves ClickHouse with an empty definition of the
    table. Raises Unavailable, also when the disk is nearly full, or Broken.
    """
    missing = list(_missing(store))
    if missing and (free := _free_bytes(store)) is not None and free < _FREE_BYTES:
        raise Unavailable(
            f"The disk of ClickHouse has {free >> 20} MiB free, which is too little to change its tables; free at "
            f"least {_FREE_BYTES >> 20} MiB."
        )
    for statement in missing:
        store.query(statement)


def _missing(store: ClickHouse) -> Iterator[str]:
    tables = {name for (name,) in store.query(_TABLES)}
    yield from (text for text in statements("1-tables.sql") if _named(_TABLE, text) not in tables)
    columns = set(store.query(_COLUMNS))
    for table, name, type_ in declared_columns():
        if table in tables and (table, name) not in columns:
            yield "ALTER TABLE " + table + " ADD COLUMN " + name + " " + type_
    if _is_newer(store):
        there = {f"{table}.{name}" for table, name in store.query(_INDEXES)}
        yield from (text for text in statements("2-newer.sql") if _named(_INDEX, text) not in there)


def _named(pattern: re.Pattern[str], statement: str) -> str:
    match = pattern.match(statement)
    if match is None:
        raise Broken(f"not a statement of the schema: {statement[:80]}")
    return ".".join(match.groups())


def _is_newer(store: ClickHouse) -> bool:
    version = str(store.query("SELECT version()")[0][0])
    return int(version.split(".", maxsplit=1)[0]) >= _NEWER_FROM


def _free_bytes(store: ClickHouse) -> int | None:
    """Free bytes of the fullest disk; None if the server does not report them."""
    return int(store.query(_FREE)[0][0]) if _is_newer(store) else None


def statements(name: str) -> list[str]:
    """The statements of a schema file, in order."""
    lines = (SCHEMA_FOLDER / name).read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    found = [statement.strip() for statement in text.split(";\n") if statement.strip(" ;\n")]
    return [statement.rstrip(";") for statement in found]


def declared_columns() -> list[tuple[str, str, str]]:
    """(table, column, type) of every table in 1-tables.sql."""
    found = []
    for statement in statements("1-tables.sql"):
        table, body = _named(_TABLE, statement), statement.partition("\n(\n")[2]
        for line in body.partition("\n)\n")[0].splitlines():
            name, _, type_ = line.strip().rstrip(",").partition(" ")
            found.append((table, name, type_))
    return found
