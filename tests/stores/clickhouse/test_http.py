"""What a ClickHouse server may answer over HTTP, from a scripted server: later errors, progress, TLS, who asks."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.errors import NotAnswering, Rejected, Unavailable
from pipeline.stores.clickhouse.client import Patience
from pipeline.stores.clickhouse.connect import connect
from tests.fixtures.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\n"
DENIED = b"Code: 516. DB::Exception: me: Authentication failed. (AUTHENTICATION_FAILED)"
MEMORY = b"Code: 241. DB::Exception: (total) memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
Script = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script
    seen: list[tuple[dict[str, str], dict[str, list[str]]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((dict(self.headers), parse_qs(urlsplit(self.path).query) | parse_qs(body)))
        type(self).script(self)
        self.close_connection = True

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    handler = type("Scripted", (Handler,), {"seen": [], "script": lambda self: self.send(answer(b"[1]\n"))})
    made = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def answer(body: bytes, status: bytes = OK, *headers: bytes) -> bytes:
    lines = b"".join(one + b"\r\n" for one in (*headers, b"Content-Length: %d" % len(body)))
    return status + lines + b"\r\n" + body


def url(server: HTTPServer, scheme: str = "http") -> str:
    return f"{scheme}://me@127.0.0.1:{server.server_port}/meters"


def scripted(server: HTTPServer, *parts: bytes) -> str:
    handler: type[Handler] = server.RequestHandlerClass  # type: ignore[assignment]
    handler.script = lambda one: one.send(*parts)
    return url(server)


def test_who_asks_and_how_is_in_every_request(server: HTTPServer) -> None:
    assert connect(url(server), "hush").query("SELECT {n:UInt8}", {"n": 1}) == [(1,)]
    ((headers, asked),) = server.RequestHandlerClass.seen  # type: ignore[attr-defined]
    assert (headers["X-ClickHouse-User"], headers["X-ClickHouse-Key"]) == ("me", "hush")
    settings = ("async_insert", "wait_end_of_query", "output_format_json_quote_64bit_integers")
    assert [asked[name] for name in settings] == [["0"], ["1"], ["0"]]
    assert (asked["database"], asked["param_n"]) == (["meters"], ["1"])


def test_an_insert_waits_until_it_is_stored(server: HTTPServer) -> None:
    connect(url(server)).insert("windows", {"value": ["1"]})
    ((_, asked),) = server.RequestHandlerClass.seen  # type: ignore[attr-defined]
    assert asked["query"][0].endswith("FORMAT JSONCompactColumns")
    assert (asked["async_insert"], asked["wait_end_of_query"]) == (["0"], ["1"])


@pytest.mark.parametrize(
    "parts",
    [
        answer(MEMORY, b"HTTP/1.1 500 Error\r\n", b"X-ClickHouse-Exception-Code: 241"),
        answer(MEMORY, OK, b"X-ClickHouse-Exception-Code: 241"),
        answer(b"[1]\n[2]\n" + MEMORY + b"\n"),
        answer(b"[1]\n[2]\n[3, " + MEMORY),
    ],
    ids=["status", "header", "after rows", "within a row"],
)
def test_an_error_is_found_wherever_it_is(server: HTTPServer, parts: bytes) -> None:
    with pytest.raises(Unavailable, match="memory limit exceeded"):
        connect(scripted(server, parts)).query("SELECT 1")


def test_a_wrong_password_has_the_words_of_the_server(server: HTTPServer) -> None:
    parts = answer(DENIED, b"HTTP/1.1 403 Forbidden\r\n", b"X-ClickHouse-Exception-Code: 516")
    with pytest.raises(Unavailable, match="me: Authentication failed"):
        connect(scripted(server, parts)).ping()


@pytest.mark.parametrize(
    "parts",
    [OK + b"Content-Length: 100\r\n\r\n[1]\n", answer(b"[1]\n[2, 3"), b"", b"220 mail.example ESMTP\r\n"],
    ids=["cut", "half a row", "nothing", "another protocol"],
)
def test_a_broken_answer_is_no_answer(server: HTTPServer, parts: bytes) -> None:
    with pytest.raises(NotAnswering):
        connect(scripted(server, parts)).query("SELECT 1")


def test_a_server_that_reports_progress_is_not_silent(server: HTTPServer) -> None:
    """Twice the silence that is allowed, with one header in between."""

    def slowly(one: Handler) -> None:
        one.send(OK)
        for _ in range(4):
            time.sleep(0.5)
            one.send(b"X-ClickHouse-Progress: {}\r\n")
        one.send(b"Content-Length: 4\r\n\r\n[1]\n")

    handler: type[Handler] = server.RequestHandlerClass  # type: ignore[assignment]
    handler.script = slowly
    patience = Patience(answer_s=1.0, execution_s=10)
    assert connect(url(server), patience=patience).query("SELECT 1") == [(1,)]
    ((_, asked),) = handler.seen
    assert asked["send_progress_in_http_headers"] == ["1"]
    assert asked["http_headers_progress_interval_ms"] == ["500"]


def test_a_silent_server_is_given_up(server: HTTPServer) -> None:
    done = threading.Event()
    handler: type[Handler] = server.RequestHandlerClass  # type: ignore[assignment]
    handler.script = lambda _: done.wait(30) and None
    try:
        with pytest.raises(NotAnswering, match=r"does not answer on 127.0.0.1:\d+: it was silent for 0.2 s"):
            connect(url(server), patience=Patience(answer_s=0.2)).ping()
    finally:
        done.set()


def test_tls_needs_an_authority_that_is_trusted(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("clickhouse"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(NotAnswering, match="certificate verify failed"):
        connect(url(server, "https"), "hush").ping()
    assert server.RequestHandlerClass.seen == []  # type: ignore[attr-defined]
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    connect(url(server, "https"), "hush").ping()


def test_a_url_without_a_database_is_rejected() -> None:
    with pytest.raises(Rejected):
        connect("http://h:8123/a-b")
