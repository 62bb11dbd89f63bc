"""Connections whose clients are slow, endless, huge or many: each is ended, and says why where it can."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from pipeline.api.http import slow_clients
from pipeline.local import process
from tests.fixtures.patience import PATIENCE_S

pytestmark = pytest.mark.services  # it takes seconds

PER_IP = 20
QUICK = slow_clients.ClientLimits(
    head_s=0.3,
    body_s=0.7,
    whole_s=1.0,
    idle_s=0.5,
    stalled_s=0.5,
    closing_s=0.2,
    slow_after_s=0.2,
    sweep_s=0.02,
)
# For clients that are not slow, whatever else the machine does.
PATIENT = slow_clients.ClientLimits(
    head_s=60,
    body_s=60,
    whole_s=60,
    idle_s=3,
    stalled_s=60,
    closing_s=0.2,
    slow_after_s=60,
    sweep_s=0.02,
)
ROUTE = b"POST /x HTTP/1.1\r\nhost: x\r\n"


class App:
    """Reads the body, then answers with its size; `/early` answers before the body; `/wait` waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, scope["path"] != "/early"
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self.ended.append("disconnect")
                return
        if scope["path"] == "/wait":
            await asyncio.to_thread(self.go.wait, 20)
        body = b"x" * (50 << 20) if scope["path"] == "/large" else str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for place in range(0, len(body), 1 << 20):
            more = place + (1 << 20) < len(body)
            await send(
                {"type": "http.response.body", "body": body[place : place + (1 << 20)], "more_body": more}
            )
        self.ended.append("done")


class Serving:
    def __init__(self, limits: slow_clients.ClientLimits) -> None:
        self.app = App()
        self.kind = slow_clients.guarded(PER_IP, limits)
        self.listening = socket.create_server((process.HOST, 0))
        self.address = self.listening.getsockname()
        config = uvicorn.Config(
            self.app, loop="uvloop", http=self.kind, ws="none", lifespan="off", log_level="critical"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def open(self) -> int:
        return self.kind.guard.connections


@contextmanager
def running(limits: slow_clients.ClientLimits) -> Iterator[Serving]:
    serving = Serving(limits)
    serving.thread.start()
    yield serving
    serving.server.should_exit = serving.server.force_exit = True
    serving.thread.join()


@pytest.fixture(scope="module")
def quick() -> Iterator[Serving]:
    with running(QUICK) as serving:
        yield serving


@pytest.fixture(scope="module")
def unhurried() -> Iterator[Serving]:
    with running(PATIENT) as serving:
        yield serving


@pytest.fixture
def served(quick: Serving) -> Serving:
    """A server that is soon tired of a client, without a connection of an earlier test."""
    return fresh(quick)


@pytest.fixture
def patient(unhurried: Serving) -> Serving:
    """A server that waits long for all but a connection at rest, without a connection of an earlier test."""
    return fresh(unhurried)


def fresh(serving: Serving) -> Serving:
    wait_until(lambda: serving.open() == 0)
    serving.app.go.clear()
    serving.app.ended.clear()
    return serving


def answer(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def drip(connection: socket.socket, text: bytes, pause_s: float) -> None:
    try:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(pause_s)
    except OSError:
        pass


def test_a_client_that_says_nothing_is_left(served: Serving) -> None:
    with served.connect() as connection:
        assert answer(connection) == b""
    wait_until(lambda: served.open() == 0)


@pytest.mark.parametrize(
    "text", [ROUTE + b"x-slow: " + b"a" * 200, b"\r\n" * 200], ids=["header", "empty lines"]
)
def test_slow_headers(served: Serving, text: bytes) -> None:
    with served.connect() as connection:
        threading.Thread(target=drip, args=(connection, text, 0.05), daemon=True).start()
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_slow_headers_of_a_second_request(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(ROUTE + b"content-length: 0\r\n\r\n")
        assert b" 200 " in connection.recv(65536)
        drip(connection, ROUTE + b"x: " + b"a" * 20, 0.05)
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "text",
    [
        ROUTE + b"content-length: 100000\r\n\r\n",
        ROUTE + b"transfer-encoding: chunked\r\n\r\nffff\r\n",
        ROUTE + b"transfer-encoding: chunked\r\n\r\n5;" + b"x" * 2000,
    ],
    ids=["declared", "chunked", "chunk extension"],
)
def test_a_body_below_the_least_rate(served: Serving, text: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(text)
        threading.Thread(target=drip, args=(connection, b"1" * 100, 0.02), daemon=True).start()
        answered = answer(connection)
    assert answered.startswith(b"HTTP/1.1 408 ") and b"bytes a second" in answered
    wait_until(lambda: served.app.ended == ["disconnect"])


def test_a_body_that_takes_too_long_at_a_good_rate(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(ROUTE + b"content-length: 100000000\r\n\r\n")
        threading.Thread(target=drip_much, args=(connection,), daemon=True).start()
        assert b"The body took more" in answer(connection)


def drip_much(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(b"1" * 1000)
            time.sleep(0.02)
    except OSError:
        pass


def test_a_connection_at_rest_is_closed_and_not_before(patient: Serving) -> None:
    with patient.connect() as connection:
        for _ in range(3):
            connection.sendall(ROUTE + b"content-length: 2\r\n\r\nab")
            assert connection.recv(65536).endswith(b"\r\n\r\n2")
            time.sleep(0.2)
        assert answer(connection) == b""


def test_the_servers_own_work_is_not_the_clients_time(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(ROUTE.replace(b"/x", b"/wait") + b"content-length: 2\r\n\r\nab")
        time.sleep(1.2)  # longer than each limit
        served.app.go.set()
        assert b" 200 " in connection.recv(65536)


def test_requests_one_behind_the_other(patient: Serving) -> None:
    with patient.connect() as connection:
        connection.sendall((ROUTE + b"content-length: 2\r\n\r\nab") * 3)
        assert answer(connection).count(b" 200 ") == 3


@pytest.mark.parametrize(
    "text",
    [
        ROUTE + b"x: " + b"a" * (17 << 10) + b"\r\n\r\n",
        ROUTE + b"x: y\r\n" * 4000 + b"\r\n",
        b"POST /" + b"a" * (17 << 10) + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["one", "many", "path"],
)
def test_large_headers(patient: Serving, text: bytes) -> None:
    with patient.connect() as connection:
        connection.sendall(text)
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_a_header_without_end(served: Serving) -> None:
    with served.connect() as connection:
        sent = 0
        connection.sendall(ROUTE + b"x: ")
        try:
            while sent < 10 << 20:
                connection.sendall(b"a" * 4096)
                sent += 4096
        except OSError:
            pass
        assert sent < 10 << 20
        wait_until(lambda: served.open() == 0)


def test_headers_just_small_enough_come_in_pieces(patient: Serving) -> None:
    text = ROUTE + b"x: " + b"a" * (15 << 10) + b"\r\ncontent-length: 0\r\n\r\n"
    with patient.connect() as connection:
        for place in range(0, len(text), 700):
            connection.sendall(text[place : place + 700])
            time.sleep(0.002)
        assert b" 200 " in connection.recv(65536)


def test_trailers_count_as_headers(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(ROUTE + b"transfer-encoding: chunked\r\n\r\n0\r\n")
        connection.sendall(b"x: y\r\n" * 4000)
        answer(connection)
    wait_until(lambda: served.open() == 0)


def test_what_is_no_http(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3)
        assert answer(connection).startswith(b"HTTP/1.1 400 ")


def test_a_chunk_that_is_none(served: Serving) -> None:
    with served.connect() as connection:
        connection.sendall(ROUTE + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: served.app.ended == ["disconnect"])


def test_too_many_connections_from_one_address(patient: Serving) -> None:
    held = [patient.connect() for _ in range(PER_IP)]
    wait_until(lambda: patient.open() == PER_IP)
    with patient.connect() as further:
        answered = answer(further)
    assert answered.startswith(b"HTTP/1.1 429 ") and b"retry-after" in answered
    for connection in held:
        connection.close()
    wait_until(lambda: patient.open() == 0)
    with patient.connect() as again:
        again.sendall(ROUTE + b"content-length: 0\r\n\r\n")
        assert b" 200 " in again.recv(65536)


def test_a_client_that_takes_nothing_of_its_answer(served: Serving) -> None:
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(ROUTE.replace(b"/x", b"/large") + b"content-length: 0\r\n\r\n")
        wait_until(lambda: served.open() == 0)


def test_an_early_answer_leaves_a_connection_that_ends(patient: Serving) -> None:
    with patient.connect() as connection:
        connection.sendall(ROUTE.replace(b"/x", b"/early") + b"content-length: 10\r\n\r\n")
        assert b" 200 " in connection.recv(65536)
        connection.sendall(b"0123456789")
        connection.sendall(ROUTE + b"content-length: 1\r\n\r\na")
        assert connection.recv(65536).endswith(b"\r\n\r\n1")
        assert answer(connection) == b""
