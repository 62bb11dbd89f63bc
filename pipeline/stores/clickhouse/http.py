"""ClickHouse over HTTP: the local stack's chDB process (pipeline.local.clickhouse).

Owns: requests, the encoding of parameters and rows, its errors. Does not own: tables or queries.
A query is sent as a form with its parameters; an insert has its statement in the URL and its columns in the body.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from pipeline.errors import Broken, NotAnswering, Unavailable
from pipeline.stores.clickhouse import client as clickhouse
from pipeline.stores.clickhouse.client import PATIENT, Columns, Parameter, Parameters, Patience, Rows, Sized
from pipeline.stores.clickhouse.pool import Pool
from pipeline.stores.clickhouse.schema import ensure_tables

AT_ONCE = 5_000  # rows that are decoded in one go: meanwhile no other thread runs
FORM = "application/x-www-form-urlencoded"
PASSWORD_HEADER = "X-ClickHouse-Key"
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)
# The errors of an idle connection after a restart of the server.
_LOST = (http.client.BadStatusLine, ConnectionError)


class _Connection(http.client.HTTPConnection):
    """A connection with a separate timeout for responses, which another thread can close."""

    def __init__(self, host: str, port: int, patience: Patience) -> None:
        super().__init__(host, port, timeout=patience.connect_s)
        self._answer_s = patience.answer_s

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self._answer_s)

    def interrupt(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # not open, or closing
            self.sock.shutdown(socket.SHUT_RDWR)


class HttpClickHouse:
    """One database of the process that listens on host:port."""

    def __init__(
        self, host: str, port: int, database: str, password: str = "", patience: Patience = PATIENT
    ) -> None:
        self._patience = patience
        self._address = f"{host}:{port}"
        self._scope = {"database": database} | patience.settings()
        self._database = database
        self._headers = {PASSWORD_HEADER: password} if password else {}
        self._pool = Pool(lambda: _Connection(host, port, patience))

    def insert(self, table: str, columns: Columns) -> None:
        """See ClickHouse.insert."""
        statement = clickhouse.insert_statement(table, columns) + " FORMAT JSONCompactColumns"
        values = list(columns.values())
        if values and values[0]:
            # Never retried here: the stored rows are counted by the insert's id.
            body = msgspec.json.encode(values)
            self._post({"query": statement, **self._scope}, body, "text/plain", again=False)

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        """See ClickHouse.query."""
        form: dict[str, str | int] = {
            "param_" + name: _text(value) for name, value in (parameters or {}).items()
        }
        form |= {"query": sql, "default_format": "JSONCompactEachRow", **self._scope}
        answer = self._post({}, urlencode(form).encode(), FORM)
        if sized is not None:
            sized(len(answer))
        lines = answer.splitlines()
        del answer
        found: Rows = []
        for first in range(0, len(lines), AT_ONCE):
            part = b"[" + b",".join(lines[first : first + AT_ONCE]) + b"]"
            found += msgspec.json.decode(part, type=list[tuple])  # type: ignore[type-arg]
        return found

    def ensure_schema(self) -> None:
        """See ClickHouse.ensure_schema."""
        self._post({"query": clickhouse.create_database_statement(self._database)}, b"", "text/plain")
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

    def _post(
        self, url: Mapping[str, str | int], body: bytes, content_type: str, *, again: bool = True
    ) -> bytes:
        """POST a request. again: retry once if an idle connection turns out to be lost."""
        path = "/?" + urlencode(url)
        interruptions = self._pool.interruptions
        try:
            try:
                status, headers, answer = self._once(path, body, content_type)
            except _LOST:
                if not again or self._pool.interruptions != interruptions:
                    raise
                self._pool.close()
                status, headers, answer = self._once(path, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            silent = isinstance(error, TimeoutError)
            why = (
                f"it was silent for {self._patience.answer_s:g} s"
                if silent
                else error or type(error).__name__
            )
            raise NotAnswering(f"ClickHouse (chDB) does not answer on {self._address}: {why}") from error
        if status == http.client.OK:
            return answer
        text = answer.decode("utf-8", "replace")
        code = headers.get("X-ClickHouse-Exception-Code")
        if code is None:
            raise (Unavailable if status == http.client.SERVICE_UNAVAILABLE else Broken)(
                f"ClickHouse (chDB) on {self._address} answers {status}: {text}"
            )
        raise clickhouse.failure(int(code), text, self._patience)

    def _once(self, path: str, body: bytes, content_type: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self._pool.connection() as connection:
            connection.request("POST", path, body, {"Content-Type": content_type, **self._headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()


def _text(value: Parameter) -> str:
    """A parameter in the format of ClickHouse's HTTP interface: TabSeparated text, an array as a literal."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return "[" + ",".join(_element(element) for element in value) + "]"


def _element(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.translate(_ESCAPES) + "'"
