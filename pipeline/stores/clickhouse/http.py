"""ClickHouse over HTTP: a server, or the local stack's chDB process (pipeline.local.clickhouse).

Owns: requests, the encoding of parameters and rows, its errors. Does not own: tables or queries.
A query is sent as a form with its parameters; an insert has its statement in the URL and its columns in the body. A
server begins its answer while it works, so an error may follow the status 200: in a header, or after some rows.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlencode

import msgspec

from pipeline.errors import Broken, NotAnswering, Unavailable
from pipeline.stores.clickhouse import client as clickhouse
from pipeline.stores.clickhouse.client import PATIENT, Columns, Parameter, Parameters, Patience, Rows, Sized
from pipeline.stores.clickhouse.pool import Pool
from pipeline.stores.clickhouse.schema import ensure_tables

AT_ONCE = 5_000  # rows that are decoded in one go: meanwhile no other thread runs
FORM = "application/x-www-form-urlencoded"
PASSWORD_HEADER, USER_HEADER = "X-ClickHouse-Key", "X-ClickHouse-User"
CODE_HEADER = "X-ClickHouse-Exception-Code"
MOST_HEADERS = 80  # http.client reads at most 100 of an answer, and each report of progress is one
# Settings of every statement on a server. An insert is acknowledged when it is stored, whatever its profile says.
ON_SERVER: Mapping[str, str | int] = {
    "async_insert": 0,
    "wait_end_of_query": 1,
    "output_format_json_quote_64bit_integers": 0,
}
_CODE = re.compile(rb"Code: (\d+)")
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)
# The errors of an idle connection after a restart of the server.
_LOST = (http.client.BadStatusLine, ConnectionError)


class _Connection:
    """A connection with a separate timeout for responses, which another thread can close."""

    def __init__(self, host: str, port: int, secure: bool, connect_s: float, silence_s: float) -> None:
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._http = kind(host, port, timeout=connect_s)
        self._silence_s = silence_s

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if self._http.sock is None:
            self._http.connect()
            _socket(self._http).settimeout(self._silence_s)
        self._http.request("POST", path, body, headers)
        return self._http.getresponse()

    def close(self) -> None:
        self._http.close()

    def interrupt(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # not open, or closing
            _socket(self._http).shutdown(socket.SHUT_RDWR)


def _socket(connection: http.client.HTTPConnection) -> socket.socket:
    """The socket of a connection; None, whatever its type says, until it is open."""
    return cast(socket.socket, connection.sock)


class HttpClickHouse:
    """One database of a server, or of the process of the local stack.

    Args:
        host: Of the server.
        port: Of its HTTP interface.
        database: Its name.
        user: On a server; None: the local stack, which has a password only.
        password: Of the user.
        secure: Whether to use TLS, with the authorities of the system, or of the file in the variable SSL_CERT_FILE.
        patience: Limits of every connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        database: str,
        password: str = "",
        patience: Patience = PATIENT,
        *,
        user: str | None = None,
        secure: bool = False,
    ) -> None:
        self._silence_s, progress = patience.answer_s, dict[str, str | int]()
        if user is not None and patience.execution_s:
            # Headers that report progress prove that a silent server works.
            every_s = max(patience.answer_s / 2, patience.execution_s / MOST_HEADERS)
            self._silence_s = max(patience.answer_s, every_s * 2)
            progress = {
                "send_progress_in_http_headers": 1,
                "http_headers_progress_interval_ms": int(every_s * 1000),
            }
        self._name = "ClickHouse" if user is not None else "ClickHouse (chDB)"
        self._patience = patience
        self._address = f"{host}:{port}"
        self._database = database
        self._scope: dict[str, str | int] = {"database": database} | patience.settings()
        self._headers = {PASSWORD_HEADER: password} if password else {}
        if user is not None:
            self._scope |= {**ON_SERVER, **progress}
            self._headers[USER_HEADER] = user
        self._pool = Pool(lambda: _Connection(host, port, secure, patience.connect_s, self._silence_s))

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
            try:
                found += msgspec.json.decode(part, type=list[tuple])  # type: ignore[type-arg]
            except msgspec.DecodeError as error:
                raise self._broken_off(part) from error
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
            why = f"it was silent for {self._silence_s:g} s" if silent else error or type(error).__name__
            raise NotAnswering(f"{self._name} does not answer on {self._address}: {why}") from error
        code = headers.get(CODE_HEADER)
        if status == http.client.OK and code is None:
            return answer
        text = answer.decode("utf-8", "replace")
        if code is None:
            raise (Unavailable if status == http.client.SERVICE_UNAVAILABLE else Broken)(
                f"{self._name} on {self._address} answers {status}: {text}"
            )
        raise clickhouse.failure(int(code), text, self._patience)

    def _broken_off(self, rows: bytes) -> Exception:
        """The error of an answer that is no rows: the server failed after it had begun it."""
        if found := _CODE.search(rows):
            return clickhouse.failure(
                int(found[1]), rows[found.start() :].decode("utf-8", "replace"), self._patience
            )
        return NotAnswering(f"{self._name} on {self._address} has broken off an answer.")

    def _once(self, path: str, body: bytes, content_type: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self._pool.connection() as connection:
            response = connection.post(path, body, {"Content-Type": content_type, **self._headers})
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
