"""ClickHouse as Tallymark uses it: its tables, inserts by column, queries with bound parameters.

Owns: the interface, the list of tables and columns, the meaning of error codes. Does not own: the protocols
(clickhouse.native, clickhouse.http), creating tables (clickhouse.schema), the queries (clickhouse.usage,
clickhouse.events, clickhouse.totals). SQL text is constant; values are passed only as parameters, `{name:Type}` in the
text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.errors import Broken, Rejected, Unavailable

Columns = Mapping[str, Sequence[Any]]  # column name -> values, all of the same length; decimals as plain text
Parameter = str | int | Sequence[str] | Sequence[int]
Parameters = Mapping[str, Parameter]
Rows = list[tuple[Any, ...]]
# Called with about how many bytes an answer has, before it becomes rows where the wire allows that.
Sized = Callable[[int], None]

_WINDOW = ("namespace", "meter_id", "subject", "dimensions", "dimension_names", "dimension_values", "start")
_TIMES = ("received_at_ms", "stored_at_ms")
_POSITION = ("input_topic", "input_partition", "input_offset")
_EVENT = ("namespace", "source", "id", "type", "subject", "time", "time_ns", "data", "raw", "fate", "reason")
_BACKFILL = ("decided", "fate_before", "backfilled", "backfilled_rules")
INSERT_ID = "insert_id"  # in every table: the attempt that wrote the row (stores.clickhouse.proof)
_READ = ("rules", "refused_ids", "refused_meters", "refused_reasons", "refused_details", "position",
         "backfilled_positions")  # fmt: skip
_STRIPE = (
    "namespace",
    "app",
    "mapping",
    "meter",
    "customer",
    "dimensions",
    "start",
    "end_at",
    "cause",
    "message",
)
_UNITS = (
    "exact",
    "wanted",
    "confirmed",
    "unsendable",
    "pending",
    "requests",
    "revision",
    "at_ms",
    "stored_at_ms",
)
TABLES: dict[str, frozenset[str]] = {
    "events": frozenset((*_EVENT, "detail", "meters", *_POSITION, "revision", *_BACKFILL, *_READ, *_TIMES)),
    "windows": frozenset((*_WINDOW, "part", "meter", "value", "count", "latest_order", "revision", *_TIMES)),
    "uniques": frozenset((*_WINDOW, "member")),
    "stripe_usage": frozenset((*_STRIPE, *_UNITS)),
    "marks": frozenset(("mark", "topic", "partition")),
}
DECIMAL_COLUMNS = frozenset({"value"})

# Error codes of temporary failures; every other code means that our statement is wrong.
_PASSING = frozenset(
    {159, 164, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 285, 319, 394, 425, 439, 999}
    # Access denied, or a constraint that is not ours: the operator can fix that while we retry.
    | {192, 193, 194, 516, 469}
    # The disk: full, read-only or failing. 1001 is any error of the C++ library, such as one of its file system.
    | {74, 75, 76, 77, 88, 172, 204, 294, 424, 458, 586, 641, 1001}
)
_TOO_LARGE = frozenset({158, 307, 396})  # only where a client asked for a limit
TOO_LARGE = "answer-too-large"
_TOO_SLOW = 159
_NOT_MADE_YET = frozenset({60, 81})  # no such table, no such database
_NO_SUCH_COLUMN = frozenset({16, 47})
_ADDED_LATER = re.compile(r"\b(?:backfilled_rules|refused_(?:ids|meters|reasons|details)|rules)\b")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECIMAL = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")


@dataclass(frozen=True)
class Patience:
    """The limits of a client.

    connect_s: for a connection. ping_s: for an idle connection to prove that it is still open. answer_s: for an
    answer's next bytes; a server that works on a statement reports its progress meanwhile, so this limits silence and
    not work. answer_bytes: of the largest answer, before it is written as text; 0: any. execution_s: after which the
    server gives a statement up; 0: never.
    """

    connect_s: float = 5.0
    ping_s: float = 5.0
    answer_s: float = 300.0
    answer_bytes: int = 0
    execution_s: int = 0

    def settings(self) -> dict[str, int]:
        """The limits that are set, as settings of ClickHouse."""
        limits = {"max_result_bytes": self.answer_bytes, "max_execution_time": self.execution_s}
        return {name: value for name, value in limits.items() if value}


class NoSuchTable(Unavailable):
    """A table or the database does not exist (yet)."""


PATIENT = Patience()  # for a stage: long timeouts, and no limit of a response


class Queries(Protocol):
    """What asks, of a database."""

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        """Runs one statement with `{name:Type}` parameters. sized: gets the size of the answer, see Sized.

        Raises Unavailable, of it NotAnswering where the server is silent for longer than `Patience` allows, Broken,
        and Rejected `answer-too-large` where `Patience` sets a limit.
        """
        ...


class ClickHouse(Queries, Protocol):
    """One database on one server. Safe to use from several threads at once."""

    def insert(self, table: str, columns: Columns) -> None:
        """Adds rows in one block; none if there are none. Raises Unavailable (NotAnswering) or Broken."""
        ...

    def ensure_schema(self) -> None:
        """Create the missing database and tables. Raises Unavailable or Broken."""
        ...

    def ping(self) -> None:
        """Return when the server responds. Raises Unavailable, NotAnswering."""
        ...

    def interrupt(self) -> None:
        """Close every connection that waits for a response, so that its caller gets Unavailable at once."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


def insert_statement(table: str, columns: Columns) -> str:
    """`INSERT INTO table (columns)`. Raises Broken for unknown names, unequal lengths and wrong decimals."""
    unknown = set(columns) - TABLES.get(table, frozenset()) - {INSERT_ID}
    if table not in TABLES or unknown:
        raise Broken(f"unknown table or columns: {table} {sorted(unknown)}")
    if len({len(values) for values in columns.values()}) > 1:
        raise Broken(f"the columns of {table} differ in length")
    for name in DECIMAL_COLUMNS & set(columns):
        # Some servers read "" as 0 and store values out of range, so such a value must not reach them.
        wrong = next((value for value in columns[name] if not _DECIMAL.fullmatch(value)), None)
        if wrong is not None:
            raise Broken(f"{table}.{name} cannot hold {wrong!r}")
    return "INSERT INTO " + table + " (" + ", ".join(columns) + ")"


def create_database_statement(database: str) -> str:
    """`CREATE DATABASE`. Raises Broken unless the name is a plain identifier."""
    if not NAME.fullmatch(database):
        raise Broken(f"not a database name: {database!r}")
    return "CREATE DATABASE IF NOT EXISTS " + database


def failure(code: int, text: str, patience: Patience) -> Unavailable | Broken | Rejected:
    """The exception for an error code of ClickHouse. text: the server's message. patience: the client's limits."""
    if code in _TOO_LARGE and patience.answer_bytes:
        return Rejected(
            TOO_LARGE,
            f"The answer is too large, more than {patience.answer_bytes:,} bytes: ask for a shorter time, longer "
            "windows, fewer groups, fewer subjects by a filter, or a lower limit.",
        )
    if code == _TOO_SLOW and patience.execution_s:
        return Unavailable(
            f"The query took ClickHouse more than {patience.execution_s} s: ask for a shorter time, or later."
        )
    message = f"ClickHouse refused (code {code}): {text.strip()}"
    if code in _NOT_MADE_YET or (code in _NO_SUCH_COLUMN and _ADDED_LATER.search(text)):
        message += " The tables are created when the sink starts, or by `tallymark rebuild clickhouse`."
        return NoSuchTable(message)
    return Unavailable(message) if code in _PASSING else Broken(message)
