"""A ClickHouse server over its native protocol.

Owns: the driver, its errors, parameters. Does not own: tables or queries.
Older servers bind no parameters in this protocol, so clickhouse-driver writes them, escaped, into the text.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_driver import Client, errors  # type: ignore[import-untyped]

from pipeline.errors import Broken, NotAnswering
from pipeline.stores.clickhouse import client as clickhouse
from pipeline.stores.clickhouse.client import PATIENT, Columns, Parameters, Patience, Rows, Sized
from pipeline.stores.clickhouse.pool import Pool
from pipeline.stores.clickhouse.schema import ensure_tables

_LOST = (errors.NetworkError, errors.SocketTimeoutError, errors.PartiallyConsumedQueryError)
_DRIVER_LOG = logging.getLogger("clickhouse_driver.connection")
_DRIVER_LOG.addHandler(logging.NullHandler())
_DRIVER_LOG.propagate = False  # it logs a traceback for each failure, which the errors raised here report
_CELL_BYTES = 16  # of an answer, about
_PARAMETER = re.compile(r"\{(\w+):[\w()]+\}")


class _Connection:
    def __init__(self, client: Client) -> None:
        self.client = client

    def close(self) -> None:
        self.client.disconnect()

    def interrupt(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # not open, or closing
            self.client.connection.socket.shutdown(socket.SHUT_RDWR)


class NativeClickHouse:
    """One database of a server. It connects on first use, and again after an error."""

    def __init__(
        self,
        host: str,
        port: int,
        database: str,
        *,
        user: str,
        password: str = "",
        secure: bool = False,
        patience: Patience = PATIENT,
    ) -> None:
        self._patience = patience
        self._host, self._port, self._database = host, port, database
        self._user, self._password, self._secure = user, password, secure
        self._pool = Pool(lambda: self._connect(database))

    def insert(self, table: str, columns: Columns) -> None:
        """See ClickHouse.insert. The driver modifies its arguments, so it gets copies of the lists."""
        statement = clickhouse.insert_statement(table, columns) + " VALUES"
        values = [list(column) for column in columns.values()]
        if values and values[0]:
            with self._pool.connection() as connection, self._failures():
                connection.client.execute(statement, values, columnar=True)

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        """See ClickHouse.query. The driver makes the rows while they come, so `sized` is called with them there."""
        # The driver encodes a list as an array, a tuple as a tuple; without parameters it would not unescape %%.
        values = {
            name: value if isinstance(value, str | int) else list(value)
            for name, value in (parameters or {"": ""}).items()
        }
        with self._pool.connection() as connection, self._failures():
            found = connection.client.execute(_driver_text(sql), values)
        rows: Rows = found if isinstance(found, list) else []
        if sized is not None and rows:
            sized(len(rows) * len(rows[0]) * _CELL_BYTES)
        return rows

    def ensure_schema(self) -> None:
        """See ClickHouse.ensure_schema."""
        first = self._connect("default")
        try:
            with self._failures():
                first.client.execute(clickhouse.create_database_statement(self._database))
        finally:
            first.close()
        ensure_tables(self)

    def ping(self) -> None:
        """See ClickHouse.ping."""
        self.query("SELECT 1")

    def interrupt(self) -> None:
        """See ClickHouse.interrupt."""
        self._pool.interrupt()

    def close(self) -> None:
        """See ClickHouse.close."""
        self._pool.close()

    def _connect(self, database: str) -> _Connection:
        return _Connection(
            Client(
                self._host,
                port=self._port,
                database=database,
                user=self._user,
                password=self._password,
                secure=self._secure,
                connect_timeout=self._patience.connect_s,
                sync_request_timeout=self._patience.ping_s,
                send_receive_timeout=self._patience.answer_s,
                settings=self._patience.settings(),
            )
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (*_LOST, EOFError, OSError) as error:
            silent = isinstance(error, TimeoutError | errors.SocketTimeoutError)
            why = (
                f"it was silent for {self._patience.answer_s:g} s"
                if silent
                else error or type(error).__name__
            )
            raise NotAnswering(f"ClickHouse does not answer on {self._host}:{self._port}: {why}") from error
        except errors.ServerException as error:
            text = str(error.message).partition("Stack trace")[0]
            raise clickhouse.failure(error.code or 0, text, self._patience) from error
        except KeyError as error:
            raise Broken(f"the statement has a parameter without a value: {error}") from error
        except errors.Error as error:
            raise Broken(f"the ClickHouse driver failed: {error}") from error


def _driver_text(sql: str) -> str:
    """Rewrite `{name:Type}` to the driver's `%(name)s`, and escape percent signs."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))
