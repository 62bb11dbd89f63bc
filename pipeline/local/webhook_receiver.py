"""`tallymark listen`: a receiver of webhooks on this machine that checks signatures and shows what arrives.

Owns: the small HTTP server and its output. Does not own: verifying a signature
(core.notifications.standard_webhooks). It listens on the loopback address only.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from pipeline.core.notifications import standard_webhooks
from pipeline.core.values import json_value
from pipeline.errors import Rejected, Unavailable
from pipeline.local.process import HOST

MOST_BYTES = 1 << 20
MOST_DIGITS = 18  # limit of a Content-Length
BAD_SIGNATURE, TOO_LARGE = 401, 413
SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Message:
    """One request. refused: why its signature is invalid; empty if it is valid. seen: its id arrived before."""

    at_s: float
    path: str
    id: str
    type: str
    body: bytes
    refused: str
    seen: bool


class Receiver:
    """Collects webhooks in `messages`. It is a context manager; its threads end with it.

    keys: the keys with which senders may sign. status: the response to a message with a valid signature.
    """

    def __init__(
        self,
        keys: Sequence[str],
        port: int = 0,
        status: int = 200,
        on_message: Callable[[Message], None] = lambda message: None,
    ) -> None:
        self.status = status
        self.messages: list[Message] = []
        self._keys = [standard_webhooks.parse_key(key) for key in keys]
        self._on_message = on_message
        self._ids: set[str] = set()
        self._arrived = threading.Condition()
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        except OSError as error:
            raise Unavailable(f"Cannot listen on {HOST}:{port}: {error.strerror}.") from error
        self._server.daemon_threads = True

    @property
    def address(self) -> tuple[str, int]:
        return HOST, int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return "http://{}:{}/".format(*self.address)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, number: int, timeout_s: float | None = None) -> bool:
        """Whether `number` messages with valid signatures and different ids arrive within this time."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self._ids) >= number, timeout_s)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Record a request; returns the status of the response."""
        id = headers.get(standard_webhooks.ID, "")
        refused = ""
        try:
            standard_webhooks.verify(self._keys, headers, body, int(time.time()))
        except Rejected as refusal:
            refused = refusal.detail
        message = Message(time.time(), path, id, _type(body), body, refused, id in self._ids)
        with self._arrived:
            self.messages.append(message)
            if not refused:
                self._ids.add(id)
            self._arrived.notify_all()
            self._on_message(message)
        return BAD_SIGNATURE if refused else self.status


def new_secret() -> str:
    """A random signing secret."""
    return standard_webhooks.secret_text(secrets.token_bytes(32))


def line(message: Message) -> str:
    """A message as lines for the terminal."""
    clock = time.strftime("%H:%M:%S", time.localtime(message.at_s)) + f".{int(message.at_s % 1 * 1000):03d}"
    if message.refused:
        return f"{clock}  REFUSED  {_shown(message.path)}  {message.refused}"
    again = "  (again)" if message.seen else ""
    body = _shown(" ".join(message.body.decode(errors="replace").split()))
    return f"{clock}  verified  {_shown(message.type)}  {_shown(message.id)}{again}\n  {body}"


def _shown(text: str) -> str:
    """The beginning of a text, without terminal control characters."""
    cut = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return "".join(character if character.isprintable() else "?" for character in cut)


def listen(
    port: int, keys: Sequence[str], status: int, count: int | None, say: Callable[[str], None]
) -> None:
    """Show webhooks until Ctrl-C, or until `count` different ones arrive. Without keys, one is created and shown."""
    made = list(keys) or [new_secret()]
    with Receiver(made, port, status, lambda message: say(line(message))) as receiver:
        say(f"listening on {receiver.url}")
        if not keys:
            say(f"signing secret for the endpoint: {made[0]}")
        try:
            if count is None:
                threading.Event().wait()
            else:
                receiver.wait(count)
        except KeyboardInterrupt:
            pass


def _type(body: bytes) -> str:
    try:
        found = json_value.read_decimals(body)
    except Rejected:
        return "?"
    return str(found.get("type", "?")) if isinstance(found, dict) else "?"


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or len(length) > MOST_DIGITS or int(length) > MOST_BYTES:
                self.close_connection = True
                self._answer(TOO_LARGE)
                return
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(receiver.take(self.path, headers, body))

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Do nothing: `take` records each request."""

    return Handler
