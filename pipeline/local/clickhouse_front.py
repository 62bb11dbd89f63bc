"""The HTTP front of the local chDB process: a small part of ClickHouse's own HTTP interface.

Owns: authentication, one statement per request, acknowledging an insert only after it is stored, a graceful stop.
Does not own: which statements are allowed (statements), the process (clickhouse), tables or queries (stores).
While a statement runs, the client receives `100 Continue` every ALIVE_S, as the native protocol reports progress.
It accepts `query`, `database`, `default_format`, `param_*` and the settings of `LIMITS`, in the URL or a form, and the
password in the header X-ClickHouse-Key. An acknowledged insert survives kill -9 of the process.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipeline.errors import Rejected, Unavailable
from pipeline.local import free_space, process, statements
from pipeline.stores.clickhouse.http import FORM, PASSWORD_HEADER

MAX_BODY_BYTES = 1 << 30
DISCARD_BYTES = 1 << 16
DRAIN_S = 30.0
ALIVE_S = 0.5
LIMITS = ("max_result_bytes", "max_execution_time")  # settings that a request may contain; 0: no limit
# The database of requests without one. In chDB's own `default`, the name of a table may be a path to any file.
NO_DATABASE = "system"
# ClickHouse's codes for errors that are detected here.
AUTHENTICATION_FAILED, ACCESS_DENIED, UNKNOWN_DATABASE, NOT_ENOUGH_SPACE = 516, 497, 81, 243
_INSERT = re.compile(r"\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FUNCTIONS = "SELECT name FROM system.table_functions"


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # an idle connection must not delay the stop
    request_queue_size = 128

    def __init__(self, port: int, folder: Path, password: str) -> None:
        from chdb import session

        self._kept = contextlib.ExitStack()
        make: Any = session.Session
        config = self._kept.enter_context(_file_of(free_space.config().encode(), folder))
        self._open: Callable[[], Any] = lambda: make(f"{folder}?config-file={config}")
        self._change = threading.Condition()
        self._busy: dict[_Handler, float] = {}  # since when each runs a statement
        self._closing = False
        first = self._open()  # keeps the folder and the engine open
        self._sessions = {first}
        self.folder = folder
        self.password = password.encode()
        self.table_functions = frozenset(str(first.query(_FUNCTIONS, "TabSeparated")).split())
        super().__init__((process.HOST, port), _Handler)
        threading.Thread(target=self._show_life, name="alive", daemon=True).start()

    @contextmanager
    def statement(self, handler: _Handler) -> Iterator[None]:
        """The time of one statement and its response. Raises Unavailable when the process is stopping."""
        with self._change:
            if self._closing:
                raise Unavailable("ClickHouse (chDB) is stopping.")
            self._busy[handler] = time.monotonic()
        try:
            yield
        finally:
            with self._change:
                del self._busy[handler]
                self._change.notify_all()

    def _show_life(self) -> None:
        while True:
            time.sleep(ALIVE_S)
            with self._change:
                long_s = time.monotonic() - ALIVE_S
                running = [handler for handler, since_s in self._busy.items() if since_s < long_s]
            for handler in running:
                handler.show_life()

    def open(self) -> Any:
        """A session for one thread, inside `statement`."""
        session = self._open()
        with self._change:
            self._sessions.add(session)
        return session

    def release(self, session: Any) -> None:
        """Close a session that is not needed any more."""
        with self._change:
            if session in self._sessions:
                self._sessions.remove(session)
                session.close()

    def drain(self) -> None:
        """Refuse new statements, wait for those in progress, close the folder."""
        with self._change:
            self._closing = True
            self._change.wait_for(lambda: not self._busy, DRAIN_S)
            while self._sessions:
                self._sessions.pop().close()
            self._kept.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _session: Any = None
    _database = ""
    _limits = ("0",) * len(LIMITS)

    def setup(self) -> None:
        super().setup()
        self._writing = threading.Lock()
        self._running = False

    def show_life(self) -> None:
        """Sends `100 Continue` unless the answer has begun; from another thread."""
        with self._writing, contextlib.suppress(OSError):
            if self._running:
                self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def finish(self) -> None:
        self.server.release(self._session)
        super().finish()

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length") or "0"
        if not size.isdigit() or int(size) > MAX_BODY_BYTES or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            return self._answer(HTTPStatus.BAD_REQUEST, b"The body needs a Content-Length of at most 1 GiB.")
        key = self.headers.get(PASSWORD_HEADER, "").encode()
        if not hmac.compare_digest(key, self.server.password):
            self._discard(int(size))
            text = f"Code: {AUTHENTICATION_FAILED}. {PASSWORD_HEADER} is not the password of this stack."
            return self._answer(HTTPStatus.FORBIDDEN, text.encode(), str(AUTHENTICATION_FAILED))
        body = self.rfile.read(int(size))
        # A page in the user's browser could reach this port; browsers always send one of these headers.
        if self.headers.get("Origin") or self.headers.get("Sec-Fetch-Mode"):
            return self._answer(HTTPStatus.FORBIDDEN, b"Requests from browsers are refused.")
        try:
            with self.server.statement(self):
                self._running = True
                answer = self._try(body)
                with self._writing:
                    self._running = False
                self._answer(*answer)
        except Unavailable as error:
            self.close_connection = True
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode())

    def _discard(self, size: int) -> None:
        """Read and discard a body, so that the client gets the response."""
        while size > 0 and (read := len(self.rfile.read(min(size, DISCARD_BYTES)))):
            size -= read

    def _try(self, body: bytes) -> tuple[HTTPStatus, bytes, str | None]:
        try:
            return HTTPStatus.OK, self._run(body), None
        except Rejected as refusal:
            text = f"Code: {ACCESS_DENIED}. {refusal.detail}"
            return HTTPStatus.FORBIDDEN, text.encode(), str(ACCESS_DENIED)
        except (RuntimeError, ValueError) as error:  # chDB's own errors are RuntimeErrors
            code = _CODE.search(str(error))
            return HTTPStatus.BAD_REQUEST, str(error).encode(), code.group(1) if code else "0"

    def _run(self, body: bytes) -> bytes:
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        if self.headers.get("Content-Type") == FORM:
            pairs += parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=None)
            body = b""
        asked = dict(pairs)
        sql = asked.get("query", "")
        insert = _INSERT.fullmatch(sql) if body else None
        text = insert.group(1) if insert else (sql + "\n" + body.decode()).strip()
        if not text:
            return b"Ok.\n"
        statements.check(text, self.server.table_functions)
        if self._session is None:
            self._session = self.server.open()
        self._use(asked.get("database", NO_DATABASE))
        self._limit(asked)
        if insert:
            self._insert(text, insert.group(2), body)
            return b""
        parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        format_ = asked.get("default_format", "TabSeparated")
        answer = self._session.query(text, format_, params=parameters or None)
        return bytes(answer.bytes() or b"")

    def _insert(self, statement: str, format_: str, body: bytes) -> None:
        """Return when the rows are stored.

        chDB's streaming insert (`send_insert`) ends without an error, and with the number of given rows, when the disk
        is full, a constraint is violated or there are too many parts. A statement that reads its rows from a file
        raises; a statement with the rows in its text would take twice the time.
        """
        with _file_of(body, self.server.folder) as path:
            text = statement + " FROM INFILE '" + path + "' COMPRESSION 'none' FORMAT " + format_
            self._session.query(text)
        if free_space.is_full(self.server.folder):
            raise ValueError(f"Code: {NOT_ENOUGH_SPACE}. The disk is full, so the rows may not be stored.")

    def _use(self, database: str) -> None:
        if database != self._database:
            if not _NAME.fullmatch(database) or database == "default":
                raise ValueError(f"Code: {UNKNOWN_DATABASE}. This database name is not allowed.")
            statement = "USE " + database
            self._session.query(statement)
            self._database = database

    def _limit(self, asked: dict[str, str]) -> None:
        wanted = tuple(asked.get(name, "0") for name in LIMITS)
        if wanted != self._limits:
            if not all(value.isascii() and value.isdigit() for value in wanted):
                raise ValueError("Code: 72. A limit must be a whole number.")
            for name, value in zip(LIMITS, wanted, strict=True):
                statement = "SET " + name + " = " + value
                self._session.query(statement)
            self._limits = wanted

    def _answer(self, status: HTTPStatus, body: bytes, code: str | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _file_of(body: bytes, folder: Path) -> Iterator[str]:
    """The path of a file with these bytes: in memory on Linux, else in `folder`."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("insert"), "wb", buffering=0) as file:
            _write(file.fileno(), body)
            yield f"/proc/self/fd/{file.fileno()}"
        return
    file_number, path = tempfile.mkstemp(prefix="insert-", dir=folder)
    try:
        with contextlib.closing(os.fdopen(file_number, "wb", buffering=0)) as file:
            _write(file.fileno(), body)
        yield path
    finally:
        os.unlink(path)


def _write(file_number: int, body: bytes) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(file_number, left) :]


def serve(folder: Path, port: int, password: str) -> None:
    """Serve the folder until SIGTERM or SIGINT; statements in progress are finished first."""
    folder.mkdir(parents=True, exist_ok=True)
    server = _Server(port, folder, password)
    watch = free_space.SpaceWatch(folder, lambda: free_space.end_process(folder))

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown, name="stop").start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    server.drain()
    watch.close()
