"""ClickHouse as Tallymark uses it: its tables, inserts by column, queries with bound parameters.

Owns: the interface, the list of tables and columns, the schema files, what an error code means. Does not own: the
wires (clickhouse.native, clickhouse.http), which of them a URL names (clickhouse.connect), or the questions (usage,
events, totals).
SQL text is constant; values travel as parameters only, `{name:Type}` in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import Broken, Unavailable

SCHEMA_FOLDER = Path(__file__).parents[3] / "schemas" / "clickhouse"

Columns = Mapping[str, Sequence[Any]]  # column name -> values, all of one length; decimals as plain text
Parameter = str | int | Sequence[str] | Sequence[int]
Parameters = Mapping[str, Parameter]
Rows = list[tuple[Any, ...]]

_WINDOW = ("namespace", "meter_id", "subject", "dimensions", "dimension_names", "dimension_values", "start")
_TIMES = ("received_at_ms", "stored_at_ms")
_POSITION = ("input_topic", "input_partition", "input_offset")
_EVENT = ("namespace", "source", "id", "type", "subject", "time", "time_ns", "data", "raw", "fate", "reason")
_BACKFILL = ("decided", "fate_before", "backfilled")
TABLES: dict[str, frozenset[str]] = {
    "events": frozenset((*_EVENT, "detail", "meters", *_POSITION, "revision", *_BACKFILL, *_TIMES)),
    "windows": frozenset((*_WINDOW, "part", "meter", "value", "count", "latest_order", "revision", *_TIMES)),
    "uniques": frozenset((*_WINDOW, "member")),
    "marks": frozenset(("mark", "topic", "partition")),
}
DECIMAL_COLUMNS = frozenset({"value"})

# Codes of ClickHouse that time can heal; every other one means that our statement is wrong.
_PASSING = frozenset(
    {159, 164, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 285, 319, 394, 425, 439, 999}
    | {192, 193, 194, 516}  # not let in: the operator can set that right while we wait
)
_NOT_MADE_YET = frozenset({60, 81})  # no such table, no such database
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECIMAL = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")
_NEWER_FROM = 21  # major version that understands 2-newer.sql


class ClickHouse(Protocol):
    """One database on one server. Safe to use from several threads at once."""

    def insert(self, table: str, columns: Columns) -> None:
        """Adds rows in one block; none if there are none. Raises Unavailable or Broken."""
        ...

    def query(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """Runs one statement with `{name:Type}` parameters. Raises Unavailable or Broken."""
        ...

    def ensure_schema(self) -> None:
        """Makes the database and tables that are missing. Raises Unavailable or Broken."""
        ...

    def ping(self) -> None:
        """Returns when the server answers. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Gives up idle connections."""
        ...


def insert_statement(table: str, columns: Columns) -> str:
    """`INSERT INTO table (columns)`. Raises Broken for unknown names, unequal lengths and wrong decimals."""
    unknown = set(columns) - TABLES.get(table, frozenset())
    if table not in TABLES or unknown:
        raise Broken(f"no such table or columns: {table} {sorted(unknown)}")
    if len({len(values) for values in columns.values()}) > 1:
        raise Broken(f"columns of {table} differ in length")
    for name in DECIMAL_COLUMNS & set(columns):
        # Some servers read "" as 0 and store what is out of range, so it must not get there.
        wrong = next((value for value in columns[name] if not _DECIMAL.fullmatch(value)), None)
        if wrong is not None:
            raise Broken(f"{table}.{name} cannot hold {wrong!r}")
    return "INSERT INTO " + table + " (" + ", ".join(columns) + ")"


def create_database_statement(database: str) -> str:
    """Raises Broken unless the name is a plain identifier."""
    if not NAME.fullmatch(database):
        raise Broken(f"not a database name: {database!r}")
    return "CREATE DATABASE IF NOT EXISTS " + database


def schema_statements(version: str) -> list[str]:
    """The statements of the schema files that a server of this version understands, in order."""
    files = ["1-tables.sql"]
    if int(version.split(".", maxsplit=1)[0]) >= _NEWER_FROM:
        files.append("2-newer.sql")
    found = []
    for name in files:
        lines = (SCHEMA_FOLDER / name).read_text("utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("--"))
        found += [statement.strip() for statement in text.split(";\n") if statement.strip(" ;\n")]
    return [statement.rstrip(";") for statement in found]


def failure(code: int, text: str) -> Unavailable | Broken:
    """What an error code of ClickHouse means for us. text: the server's own."""
    message = f"ClickHouse refused (code {code}): {text.strip()}"
    if code in _NOT_MADE_YET:
        message += " Its tables are made when the sink starts."
        return Unavailable(message)
    return Unavailable(message) if code in _PASSING else Broken(message)
