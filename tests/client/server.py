"""An HTTP server that accepts events like the API, and fails in the ways that a test requests.

Owns: what it has taken and seen. `then(...)` queues how the next requests are answered; after that it is well again.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Turn:
    """One answer. take: the events are stored before it. cut: the connection ends instead of an answer."""

    status: int = 204
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    take: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)
        return found


def problem(status: int, reason: str, detail: str, **headers: str) -> Turn:
    body = {"type": "about:blank", "title": "No", "status": status, "reason": reason, "detail": detail}
    return Turn(status, body, {"content-type": "application/problem+json", **headers})


class Server:
    """Serves on a free port of the loopback address while the `with` block lasts."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()
        self.seen: list[Seen] = []
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.repeats = 0
        self.conflicts = 0
        self.poison: set[str] = set()  # ids that are refused
        self.names_places = True
        self.warnings: list[dict[str, Any]] = []
        self.gate = threading.Event()  # closed: no answer to ingest
        self.gate.set()
        self.down = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def then(self, *turns: Turn) -> None:
        self.turns.extend(turns)

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()

    def turn(self, seen: Seen) -> Turn:
        self.seen.append(seen)
        if self.down:
            return problem(503, "unavailable", "The broker is down.")
        turn = self.turns.popleft() if self.turns else self._well(seen)
        if turn.take:
            self._take(seen.events)
        return turn

    def _well(self, seen: Seen) -> Turn:
        if seen.path != "/api/v1/events" or seen.method != "POST":
            return problem(404, "not-found", f"There is no {seen.path}.")
        for place, event in enumerate(seen.events):
            if event["id"] in self.poison:
                refused = problem(400, "bad-data", "An event is bad.")
                extensions = {"extensions": {"event": place}} if self.names_places else {}
                return replace(refused, body={**cast(dict[str, Any], refused.body), **extensions})
        if "return=representation" in seen.headers.get("prefer", ""):
            return Turn(200, {"accepted": len(seen.events), "warnings": self.warnings}, take=True)
        return Turn(take=True)

    def _take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            first = self.stored.setdefault((event["source"], event["id"]), event)
            self.repeats += first is not event
            self.conflicts += first != event

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.gate.wait(30)
                url = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                turn = server.turn(Seen(self.command, url.path, parse_qsl(url.query), headers, body))
                if turn.cut:
                    self.close_connection = True
                    return
                content = b"" if turn.body is None else turn.body if isinstance(turn.body, bytes) else None
                content = json.dumps(turn.body).encode() if content is None else content
                self.send_response(turn.status)
                for name, value in turn.headers.items():
                    self.send_header(name, value)
                if turn.status != 204:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
