"""ClickHouse of the local stack: one process that holds chDB and serves it on the loopback address.

Owns: the process, its HTTP interface, its clean end. Does not own: tables or questions (stores).
chDB lets one process open its folder, so sink and API reach it here, by a small part of ClickHouse's own HTTP
interface: `query`, `param_*`, `database`, `default_format`, in the URL or a form. An answered insert outlives
kill -9 of the process.
Run: python -m pipeline.local.clickhouse --data DIR --port N
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.stores.clickhouse.http import FORM, HttpClickHouse

MAX_BODY_BYTES = 1 << 30
DRAIN_S = 30.0
_INSERT = re.compile(r"\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ChDB:
    """The process: data under `folder`/clickhouse, listening on `port` of the loopback address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.absolute() / "clickhouse"
        self.port = port
        self.log = folder.absolute() / "logs" / "clickhouse.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For the setting `clickhouse`."""
        return f"chdb+http://{process.HOST}:{self.port}/tallymark"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process else None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts the process on the data that is there (or fresh) and returns at once."""
        argv: list[str | Path] = [sys.executable, "-m", "pipeline.local.clickhouse"]
        argv += ["--data", self.folder, "--port", str(self.port)]
        self._process = process.spawn(argv, self.log)
        return self._process

    def start(self, timeout_s: float = 60.0) -> ChDB:
        """Starts the process and returns when it answers. Raises Unavailable with the end of its log."""
        self.spawn()
        self.wait_until_up(timeout_s)
        return self

    def wait_until_up(self, timeout_s: float = 60.0) -> None:
        """Returns when the process answers. Raises Unavailable when it died or the time is over."""
        store = HttpClickHouse(process.HOST, self.port, "default")
        deadline = time.monotonic() + timeout_s
        while True:
            if self._process is None or self._process.poll() is not None:
                raise Unavailable(
                    f"ClickHouse (chDB) ended; {self.log} ends:\n{process.last_lines(self.log)}"
                )
            try:
                store.ping()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                store.close()
                return

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ends the process in good order, or by force after `timeout_s`."""
        if self._process is not None:
            process.stop(self._process, timeout_s)
            self._process = None

    def kill(self) -> None:
        """kill -9: what a crash does."""
        if self._process is not None:
            process.kill(self._process)
            self._process = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # an idle connection must not hold up the end
    request_queue_size = 128

    def __init__(self, port: int, folder: Path) -> None:
        from chdb import session

        make: Any = session.Session
        self._open: Callable[[], Any] = lambda: make(str(folder))
        self._change = threading.Condition()
        self._busy = 0
        self._closing = False
        self._sessions = {self._open()}  # the first holds the folder and keeps the engine warm
        super().__init__((process.HOST, port), _Handler)

    @contextmanager
    def statement(self) -> Iterator[None]:
        """For the time of one statement and its answer. Raises Unavailable when the process is stopping."""
        with self._change:
            if self._closing:
                raise Unavailable("ClickHouse (chDB) is stopping.")
            self._busy += 1
        try:
            yield
        finally:
            with self._change:
                self._busy -= 1
                self._change.notify_all()

    def open(self) -> Any:
        """A session for one thread; within `statement`."""
        session = self._open()
        with self._change:
            self._sessions.add(session)
        return session

    def release(self, session: Any) -> None:
        """Closes a session that is no longer needed."""
        with self._change:
            if session in self._sessions:
                self._sessions.remove(session)
                session.close()

    def drain(self) -> None:
        """Takes no more statements, waits for those under way, closes the folder."""
        with self._change:
            self._closing = True
            self._change.wait_for(lambda: self._busy == 0, DRAIN_S)
            while self._sessions:
                self._sessions.pop().close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _session: Any = None
    _database = ""

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
        body = self.rfile.read(int(size))
        # A page in the user's browser may reach this port too; browsers always send one of these.
        if self.headers.get("Origin") or self.headers.get("Sec-Fetch-Mode"):
            return self._answer(HTTPStatus.FORBIDDEN, b"Not for browsers.")
        try:
            with self.server.statement():
                self._answer(*self._try(body))
        except Unavailable as error:
            self.close_connection = True
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode())

    def _try(self, body: bytes) -> tuple[HTTPStatus, bytes, str | None]:
        try:
            return HTTPStatus.OK, self._run(body), None
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
        if self._session is None:
            self._session = self.server.open()
        self._use(asked.get("database", "default"))
        insert = _INSERT.fullmatch(sql)
        if insert and body:
            self._insert(insert.group(1), insert.group(2), body)
            return b""
        parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        text = (sql + "\n" + body.decode()).strip()
        if not text:
            return b"Ok.\n"
        format_ = asked.get("default_format", "TabSeparated")
        answer = self._session.query(text, format_, params=parameters or None)
        return bytes(answer.bytes() or b"")

    def _insert(self, statement: str, format_: str, body: bytes) -> None:
        inserter = self._session.send_insert(statement, format_)
        try:
            inserter.append(body)
        except BaseException:
            inserter.cancel()
            raise
        inserter.finish()

    def _use(self, database: str) -> None:
        if database != self._database:
            if not _NAME.fullmatch(database):
                raise ValueError("Code: 81. Not a database name.")
            statement = "USE " + database
            self._session.query(statement)
            self._database = database

    def _answer(self, status: HTTPStatus, body: bytes, code: str | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(body)


def serve(folder: Path, port: int) -> None:
    """Serves the folder until SIGTERM or SIGINT; statements under way are finished first."""
    folder.mkdir(parents=True, exist_ok=True)
    server = _Server(port, folder)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown, name="stop").start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    server.drain()


def main() -> None:
    """The command line of the process."""
    parser = argparse.ArgumentParser(description="Serves a chDB folder on the loopback address over HTTP.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    arguments = parser.parse_args()
    serve(arguments.data, arguments.port)


if __name__ == "__main__":
    main()
