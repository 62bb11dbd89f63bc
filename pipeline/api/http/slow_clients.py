"""HTTP/1.1 with patience that ends: how long and how much a client may take before its request is whole.

Owns: the time to send headers and body, the least rate, the size of headers, connections from one address, readers
that take nothing. Does not own: HTTP itself (uvicorn, httptools), the size of a body (body), rates of keys
(rate_limits).

One sweep a process looks at every connection, so that a request costs no timers. A client that is slow costs its
socket and nothing else: no other request waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long, in seconds, and how much a client may take.

    head_s: from the first byte (or the connection) to the end of the headers.
    body_s: from there to the end of the body. whole_s: from the first byte to the end of the body.
    idle_s: between two requests.
    stalled_s: a client that takes less than a buffer of its answer in this time is cut off.
    closing_s: for the last bytes of a closed connection to be taken.
    slow_after_s: from then on a body must have come at min_bytes_s on average.
    max_head_bytes: of all headers of a request. max_connections: of one process. sweep_s: between two sweeps.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    whole_s: float = 60.0
    idle_s: float = 75.0
    stalled_s: float = 60.0
    closing_s: float = 10.0
    slow_after_s: float = 5.0
    min_bytes_s: int = 1024
    max_head_bytes: int = 16 << 10
    max_connections: int = 8192
    sweep_s: float = 0.5


LIMITS = ClientLimits()
_HEAD, _BODY, _ANSWER, _IDLE = "head", "body", "answer", "idle"


class Guard:
    """The connections of one process, and the sweep over them."""

    def __init__(self, per_ip: int, limits: ClientLimits) -> None:
        self.limits = limits
        self._per_ip = per_ip
        self._of_ip: Counter[str] = Counter()
        self._open: set[GuardedProtocol] = set()
        self._sweeping = False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def refusal(self, ip: str) -> HTTPStatus | None:
        """Why no further connection from this address is taken; None where one is."""
        if self.connections >= self.limits.max_connections:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if self._per_ip and self._of_ip[ip] >= self._per_ip:
            return HTTPStatus.TOO_MANY_REQUESTS
        return None

    def enter(self, connection: GuardedProtocol, ip: str) -> None:
        """Looks after a connection from now on."""
        self._open.add(connection)
        self._of_ip[ip] += 1
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(self.limits.sweep_s, self._sweep, connection.loop)

    def leave(self, connection: GuardedProtocol, ip: str) -> None:
        """Forgets a connection."""
        if connection in self._open:
            self._open.discard(connection)
            self._of_ip[ip] -= 1
            if not self._of_ip[ip]:
                del self._of_ip[ip]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for connection in list(self._open):
            connection.look(now_s)
        self._sweeping = bool(self._open)
        if self._sweeping:
            loop.call_later(self.limits.sweep_s, self._sweep, loop)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Make a subclass with a `guard` for each server: `guarded()`."""

    guard: ClassVar[Guard]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = self.guard.limits
        self._ip = ""
        self._refused = False
        self._phase = _HEAD
        self._deadline_s = self._whole_s = math.inf
        self._body_from_s = 0.0
        self._body_bytes = 0
        self._head_bytes = self._raw_bytes = 0
        self._head_too_large = False
        self._anything = False  # whether a byte of the request has come
        self._stalled_s = self._closing_s = math.inf

    # transport callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ip = self.client[0] if self.client else ""
        refusal = self.guard.refusal(self._ip)
        if refusal is not None:
            self._refused = True
            self._answer(refusal, "Too many connections are open.")
            return
        self.guard.enter(self, self._ip)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.leave(self, self._ip)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if self._phase is _IDLE:
            self._expect_head()
        in_head = self._phase is _HEAD and self._anything
        self._anything = True
        super().data_received(data)
        if in_head and self._phase is _HEAD and not self._head_too_large:
            self._raw_bytes += len(data)  # a header without an end stays in the parser, which calls nothing
            if self._raw_bytes > self._limits.max_head_bytes:
                self._head_too_large = True
                self.send_400_response("")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_s = self.loop.time() + self._limits.stalled_s

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_s = math.inf

    # parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._phase is not _HEAD:
            self._expect_head()
            self._anything = True

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._phase = _BODY
        self._body_bytes = 0
        self._body_from_s = self.loop.time()
        self._deadline_s = self._body_from_s + self._limits.body_s
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._rest()
        else:
            self._phase = _ANSWER
            self._deadline_s = self._whole_s = math.inf

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._phase is _ANSWER and self.cycle.response_complete:
            self._rest()

    # the end of patience

    def look(self, now_s: float) -> None:
        """Called at every sweep: ends a connection whose time is over."""
        if self.transport.is_closing():
            self._closing_s = min(self._closing_s, now_s + self._limits.closing_s)
            if now_s > self._closing_s:
                self.transport.abort()
        elif now_s > self._stalled_s:
            self.transport.abort()
        elif self._phase is _IDLE:
            if now_s > self._deadline_s:
                self.transport.close()
        elif self._phase is _HEAD:
            answering = self.cycle is not None and not self.cycle.response_complete
            if not answering and now_s > min(self._deadline_s, self._whole_s):
                self._time_out(f"The headers took more than {self._limits.head_s:g} s.")
        elif self._phase is _BODY:
            self._look_at_body(now_s)

    def _look_at_body(self, now_s: float) -> None:
        if self.flow.read_paused:  # this server does not read on; not the client's fault
            self._body_from_s, self._body_bytes = now_s, 0
            self._deadline_s, self._whole_s = now_s + self._limits.body_s, now_s + self._limits.whole_s
            return
        since_s = now_s - self._body_from_s
        if now_s > min(self._deadline_s, self._whole_s):
            self._time_out(f"The body took more than {self._limits.body_s:g} s.")
        elif since_s > self._limits.slow_after_s and self._body_bytes < since_s * self._limits.min_bytes_s:
            self._time_out(f"The body came at less than {self._limits.min_bytes_s} bytes a second.")

    def _time_out(self, detail: str) -> None:
        started = self._phase is _BODY and self.cycle.response_started
        if self._anything and not started:
            self._answer(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:
            self.transport.close()

    def _expect_head(self) -> None:
        now_s = self.loop.time()
        self._phase = _HEAD
        self._head_bytes = self._raw_bytes = 0
        self._anything = False
        self._deadline_s, self._whole_s = now_s + self._limits.head_s, now_s + self._limits.whole_s

    def _rest(self) -> None:
        self._phase = _IDLE
        self._deadline_s = self.loop.time() + self._limits.idle_s

    def _count_head(self, count: int) -> None:
        """Also counts trailers. Raising ends the parser, which answers by `send_400_response`."""
        self._head_bytes += count
        if self._head_bytes > self._limits.max_head_bytes:
            self._head_too_large = True
            raise ValueError("headers too large")

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no HTTP, or too much of it."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and (self._phase is not _BODY or self.cycle.response_started or self.pipeline):
            self.transport.close()  # the answer of a request before would be torn
        elif self._head_too_large:
            detail = f"The headers have more than {self._limits.max_head_bytes} bytes."
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        else:
            self._answer(HTTPStatus.BAD_REQUEST, msg)

    def _answer(self, status: HTTPStatus, detail: str) -> None:
        """A problem, before any route is known; then the connection ends."""
        reason = status.phrase.lower().replace(" ", "-")
        body = orjson.dumps(
            {
                "type": "about:blank",
                "title": status.phrase,
                "status": status,
                "detail": detail,
                "reason": reason,
            }
        )
        later = "retry-after: 5\r\n" if status in (429, 503) else ""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n{later}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def guarded(per_ip: int, limits: ClientLimits = LIMITS) -> type[GuardedProtocol]:
    """The protocol of one server. per_ip: open connections from one address; 0: any number."""
    return type("GuardedProtocol", (GuardedProtocol,), {"guard": Guard(per_ip, limits)})
