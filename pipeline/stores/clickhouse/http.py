"""ClickHouse over HTTP: the local stack's chDB process (pipeline.local.clickhouse).

Owns: requests, how parameters and rows are written, its errors. Does not own: tables or questions.
A statement goes as a form with its parameters; an insert has its statement in the URL, columns as the body.
"""

from __future__ import annotations

import http.client
from urllib.parse import urlencode

import msgspec

from pipeline.errors import Broken, Unavailable
from pipeline.stores.clickhouse import client as clickhouse
from pipeline.stores.clickhouse.client import Columns, Parameter, Parameters, Rows
from pipeline.stores.clickhouse.pool import Pool

ANSWER_TIMEOUT_S = 300
FORM = "application/x-www-form-urlencoded"
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)
_LOST = (
    http.client.BadStatusLine,
    ConnectionError,
)  # what an idle connection gives when the server has restarted


class HttpClickHouse:
    """One database of the process that listens on host:port."""

    def __init__(self, host: str, port: int, database: str) -> None:
        self._address = f"{host}:{port}"
        self._database = database
        self._pool = Pool(lambda: http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S))

    def insert(self, table: str, columns: Columns) -> None:
        """See ClickHouse.insert."""
        statement = clickhouse.insert_statement(table, columns) + " FORMAT JSONCompactColumns"
        values = list(columns.values())
        if values and values[0]:
            self._post(
                {"query": statement, "database": self._database}, msgspec.json.encode(values), "text/plain"
            )

    def query(self, sql: str, parameters: Parameters | None = None) -> Rows:
        """See ClickHouse.query."""
        form = {"param_" + name: _text(value) for name, value in (parameters or {}).items()}
        form |= {"query": sql, "database": self._database, "default_format": "JSONCompactEachRow"}
        lines = self._post({}, urlencode(form).encode(), FORM).splitlines()
        found: Rows = msgspec.json.decode(b"[" + b",".join(lines) + b"]", type=list[tuple])  # type: ignore[type-arg]
        return found

    def ensure_schema(self) -> None:
        """See ClickHouse.ensure_schema."""
        self._post({"query": clickhouse.create_database_statement(self._database)}, b"", "text/plain")
        version = str(self.query("SELECT version()")[0][0])
        for statement in clickhouse.schema_statements(version):
            self.query(statement)

    def ping(self) -> None:
        """See ClickHouse.ping."""
        self.query("SELECT 1")

    def close(self) -> None:
        """See ClickHouse.close."""
        self._pool.close()

    def _post(self, url: dict[str, str], body: bytes, content_type: str) -> bytes:
        path = "/?" + urlencode(url)
        try:
            try:
                status, headers, answer = self._once(path, body, content_type)
            except _LOST:
                self._pool.close()
                # Rows replace each other, so an insert that is done twice is done once.
                status, headers, answer = self._once(path, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            message = f"ClickHouse (chDB) does not answer on {self._address}: {error or type(error).__name__}"
            raise Unavailable(message) from error
        if status == http.client.OK:
            return answer
        text = answer.decode("utf-8", "replace")
        code = headers.get("X-ClickHouse-Exception-Code")
        if code is None:
            raise (Unavailable if status == http.client.SERVICE_UNAVAILABLE else Broken)(
                f"ClickHouse (chDB) on {self._address} answers {status}: {text}"
            )
        raise clickhouse.failure(int(code), text)

    def _once(self, path: str, body: bytes, content_type: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self._pool.connection() as connection:
            connection.request("POST", path, body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.headers, response.read()


def _text(value: Parameter) -> str:
    """A parameter as ClickHouse's HTTP interface reads it: TabSeparated text, an array as a literal."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return "[" + ",".join(_element(element) for element in value) + "]"


def _element(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.translate(_ESCAPES) + "'"
